from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

from respect_tf.compile import CompileResult, Failure
from respect_tf.compile._narrow import narrow
from respect_tf.graph import OpGraph
from respect_tf.segmentation import Segment, segment


def chain(num_ops: int) -> Segment:
    """Convolution i has i + 1 output channels."""
    builder = ModelBuilder()
    made = builder.input(channels=1)
    for op in range(num_ops):
        made = builder.conv(made, op + 1)
    return segment(builder.build([made]), np.zeros(num_ops, np.int32))[0]


def result(failure: Failure | None) -> CompileResult:
    return CompileResult(None, "", None, failure, 0, 1, 0.0)


class Probe:
    """Fails where all of some ops are in the model; ops are told by their output channels."""

    def __init__(self, guilty: set[int], kind: str = "internal", limit: int = 1000) -> None:
        self.guilty, self.kind, self.limit, self.count = guilty, kind, limit, 0

    def __call__(self, content: bytes) -> CompileResult | None:
        if self.count == self.limit:
            return None
        self.count += 1
        graph = OpGraph.from_tflite(content)
        present = {
            graph.tensor_shapes[graph.outputs_of(i)[0]][-1] - 1 for i in range(graph.num_ops)
        }
        failed = self.guilty <= present
        return result(Failure(self.kind, "") if failed else None)


@given(st.integers(1, 14), st.data())
@settings(max_examples=40, deadline=None)
def test_the_smallest_range_with_all_guilty_ops_is_found(num_ops: int, data) -> None:
    guilty = data.draw(st.sets(st.integers(0, num_ops - 1), min_size=1, max_size=3))
    probe = Probe(guilty)
    found = narrow(chain(num_ops), "internal", probe)
    assert found.ops == tuple(range(min(guilty), max(guilty) + 1))
    assert found.smallest
    assert found.num_probes == probe.count <= 2 * np.ceil(np.log2(num_ops + 1)) + 1


@pytest.mark.parametrize("limit", range(6))
def test_without_time_the_range_is_one_that_failed(limit: int) -> None:
    found = narrow(chain(16), "internal", Probe({5, 7}, limit=limit))
    assert set(found.ops) >= {5, 6, 7}
    assert not found.smallest


def test_failing_in_another_way_does_not_count() -> None:
    found = narrow(chain(4), "internal", Probe({1}, kind="interpreter"))
    assert found.ops == (0, 1, 2, 3)


def test_ops_are_named_as_in_the_whole_model() -> None:
    builder = ModelBuilder()
    made = builder.input(channels=1)
    for op in range(6):
        made = builder.conv(made, op + 1)
    second = segment(builder.build([made]), np.array([0, 0, 0, 1, 1, 1]))[1]
    found = narrow(second, "internal", Probe({4}))
    assert found.ops == (4,)
    assert str(found).startswith("op 4 CONV_2D '")


def test_ops_that_carry_a_tensor_have_no_index() -> None:
    builder = ModelBuilder()
    early = builder.conv(builder.input(channels=1), 2)
    late = builder.conv(early, 3)
    second = segment(builder.build([early, late]), np.array([0, 1]))[1]
    assert len(second.ops) == 1

    def probe(content: bytes) -> CompileResult:
        failed = "RESHAPE" in OpGraph.from_tflite(content).op_types
        return result(Failure("internal", "") if failed else None)

    found = narrow(second, "internal", probe)
    assert found.ops == ()
    assert str(found).startswith("the RESHAPE '")


def test_a_model_that_cannot_be_read_has_no_ops_to_name() -> None:
    damaged = dataclasses.replace(chain(2), content=b"TFL3TFL3TFL3")
    assert narrow(damaged, "unreadable", Probe({0})) is None
