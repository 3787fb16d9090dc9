"""Checks of a rewritten float model: what it computes, and whether an Edge TPU runs it."""

from __future__ import annotations

import math

import numpy as np

from respect_tf import OpGraph
from respect_tf.device import unsupported_reason
from respect_tf.tflite import Interpreter, mark_made_here, op_type, read_model
from respect_tf.tflite._preview import int8_preview
from respect_tf.tflite.rewrites import RULES, rewrite

_TOLERANCES = {rule.name: rule.tolerance for rule in RULES}


def kinds(content: bytes) -> list[str]:
    model = read_model(content)
    return [op_type(model, op) for op in model.subgraphs[0].operators]


def run(content: bytes, inputs) -> list[np.ndarray]:
    mark_made_here(content)
    with Interpreter(content) as interpreter:
        return interpreter.run(inputs)


def checked(content: bytes, inputs, expected_rules, mode: str = "safe") -> bytes:
    """Rewrite, compare what comes out, and ask whether the form is one that the device runs."""
    found = rewrite(content, mode)
    assert {item.rule for item in found.applied} == set(expected_rules)
    tolerance = sum(_TOLERANCES[item.rule] for item in found.applied)
    for before, after in zip(run(content, inputs), run(found.content, inputs), strict=True):
        assert before.shape == after.shape
        if tolerance == 0:
            np.testing.assert_array_equal(before, after)
        elif math.isfinite(tolerance):
            np.testing.assert_allclose(
                before, after, rtol=0, atol=tolerance * max(1.0, np.abs(before).max())
            )
    assert unmapped(found.content) == []
    return found.content


def unmapped(content: bytes) -> list[str]:
    """What speaks against the ops once they are quantised."""
    graph = OpGraph.from_tflite(int8_preview(content))
    found = [unsupported_reason(graph, op) for op in range(graph.num_ops)]
    return [str(reason) for reason in found if reason is not None]


def values(seed: int, shape, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)
