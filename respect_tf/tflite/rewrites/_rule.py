"""What a rule is, and what was rewritten by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from respect_tf.tflite.rewrites._float_graph import FloatGraph

_MOST_NAMED = 4  # layers that one line names

RewriteMode = Literal["safe", "all", "off"]


@dataclass(frozen=True)
class Rule:
    """One kind of op that an Edge TPU does not run, and the form of it that it runs.

    Attributes:
        name: For messages and reports, for example `"negation"`.
        kinds: Types of the ops that it looks at.
        form: What takes their place.
        reason: What the compiler does with them otherwise.
        difference: How far float results may differ, in words; `"none"` where every bit is equal.
        tolerance: The same as a number: the largest difference, relative to the largest absolute
            value of the tensor, that one application may bring.
        apply: Rewrites an op of these types in a graph; returns whether it did, or the type of
            what it replaced, where the op is only the last of several.
        any_type: Whether it also looks at ops that read other types than float32.
        safe: Whether the form is equal but for rounding; approximations are for `"all"` alone.
    """

    name: str
    kinds: tuple[str, ...]
    form: str
    reason: str
    difference: str
    tolerance: float
    apply: Callable[[FloatGraph, Any], bool | str]
    safe: bool = True
    any_type: bool = False


@dataclass(frozen=True)
class Rewritten:
    """One op that a rule has rewritten.

    Attributes:
        rule: The rule's name.
        op_type: The op's type.
        form: What took its place.
        reason: Why.
        difference: How far float results may differ, in words.
        tensor: The tensor that the op made.
        layer: The Keras layer it comes from, as far as known; else empty.
    """

    rule: str
    op_type: str
    form: str
    reason: str
    difference: str
    tensor: str
    layer: str


def describe_rewritten(items: Iterable[Rewritten]) -> tuple[str, ...]:
    """A line for each kind of rewriting: how often, which layers, how exact, and why."""
    kinds: dict[tuple[str, str], list[Rewritten]] = {}
    for item in items:
        kinds.setdefault((item.rule, item.op_type), []).append(item)
    lines = []
    for same in kinds.values():
        first = same[0]
        names = list(dict.fromkeys(item.layer or item.tensor.split(";")[0] for item in same))
        named = ", ".join(names[:_MOST_NAMED])
        if len(names) > _MOST_NAMED:
            named += f" and {len(names) - _MOST_NAMED} more"
        lines.append(
            f"{len(same)} {first.op_type} as {first.form} in {named}; difference: "
            f"{first.difference}; otherwise: {first.reason}"
        )
    return tuple(lines)
