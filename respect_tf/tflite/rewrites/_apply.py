"""Applying the rules to a float model until none finds anything."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from respect_tf.tflite._precision import layer_of
from respect_tf.tflite.rewrites import (
    _activations,
    _arithmetic,
    _dense,
    _dilation,
    _exponentials,
    _extremes,
    _group_norm,
    _movement,
    _resizing,
)
from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import RewriteMode, Rewritten, Rule
from respect_tf.tflite.rewrites._tidy import tidy

REWRITE_MODES = ("safe", "all", "off")

RULES: tuple[Rule, ...] = (
    *_group_norm.RULES,
    *_dilation.RULES,
    *_movement.RULES,
    *_resizing.RULES,
    *_arithmetic.RULES,
    *_activations.RULES,
    *_exponentials.RULES,
    *_dense.RULES,
    *_extremes.RULES,
)
"""All rules, in the order in which they are tried: patterns of several ops before single ones."""

APPROXIMATE = frozenset(rule.name for rule in RULES if not rule.safe)
"""Names of the rules whose forms are approximations."""

# A rule's result may be what another one rewrites; five rounds are two more than any model took.
_MOST_ROUNDS = 5


@dataclass(frozen=True)
class Rewriting:
    """A model and what was rewritten in it.

    Attributes:
        content: The .tflite file; the very bytes that were given where nothing was rewritten.
        applied: What was rewritten, in the order of the ops.
        tolerance: How far its float results may be from those before, relative to the largest
            value; infinite where an approximation was used.
    """

    content: bytes = field(repr=False)
    applied: tuple[Rewritten, ...] = ()
    tolerance: float = 0.0


def rewrite(
    content: bytes, mode: RewriteMode = "safe", *, layer_names: Collection[str] = ()
) -> Rewriting:
    """Rewrite what an Edge TPU does not run in a float .tflite model.

    Args:
        content: The model.
        mode: `"safe"` for equal forms, `"all"` for approximations too, `"off"` for none.
        layer_names: Names of the Keras layers, if known.

    Raises:
        InvalidModelError: The bytes are no TFLite model.
    """
    if mode == "off":
        return Rewriting(content)
    graph = FloatGraph(content)
    if not graph.is_editable:
        return Rewriting(content)
    rules = [rule for rule in RULES if rule.safe or mode == "all"]
    applied: list[Rewritten] = []
    tolerance = 0.0
    for _ in range(_MOST_ROUNDS):
        count = len(applied)
        for rule in rules:
            for op in graph.ops:
                if graph.kind(op) not in rule.kinds:
                    continue
                if not rule.any_type and not graph.is_float(op):
                    continue
                if not any(other is op for other in graph.ops):  # another's pattern held it
                    continue
                kind, names = graph.kind(op), _names(graph, op)
                replaced = rule.apply(graph, op)
                if replaced:
                    graph.drop_unused()
                    kind = kind if replaced is True else str(replaced)
                    layers = (layer_of(name, layer_names) for name in names)
                    layer = next(filter(None, layers), "")
                    applied.append(
                        Rewritten(
                            rule.name,
                            kind,
                            rule.form,
                            rule.reason,
                            rule.difference,
                            names[0],
                            layer,
                        )
                    )
                    tolerance += rule.tolerance
        if len(applied) == count:
            break
    if not applied:
        return Rewriting(content)
    tidy(graph)
    return Rewriting(graph.content(), tuple(applied), tolerance)


def _names(graph: FloatGraph, op: Any) -> list[str]:
    """The name of what an op makes, and of what it reads: outputs are named by the converter."""
    return [graph.name(tensor) for tensor in (graph.made(op), *graph.read(op)) if tensor >= 0]
