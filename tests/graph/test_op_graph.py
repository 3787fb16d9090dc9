"""Op graphs from arrays: derived arrays, immutability, refusal of bad input."""

import dataclasses
import itertools

import numpy as np
import pytest

import respect_tf
from respect_tf import GraphError, OpGraph


def _diamond() -> OpGraph:
    #     ┌─► 1 ─┐
    #  0 ─┤      ├─► 3
    #     └─► 2 ─┘
    return OpGraph.from_arrays(
        [10, 20, 30, 0], [1, 2, 3, 4], [[0, 1], [0, 2], [1, 3], [2, 3], [0, 1]]
    )


def test_derived_arrays():
    graph = _diamond()
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert graph.producer.tolist() == [0, 1, 2, 3]
    offsets, ops = graph.readers
    assert [ops[a:b].tolist() for a, b in itertools.pairwise(offsets)] == [
        [1, 2], [3], [3], [],
    ]  # fmt: skip
    assert graph.model_outputs.tolist() == [3]
    assert graph.model_inputs.tolist() == []
    assert graph.activation_bytes.tolist() == [1, 2, 3, 4]
    assert graph.topological_order.tolist() == [0, 1, 2, 3]


def test_arrays_cannot_be_changed_and_do_not_follow_their_source():
    source = np.array([1, 2])
    graph = OpGraph.from_arrays(source, [1, 1], [[0, 1]])
    source[0] = 99
    assert graph.parameter_bytes.tolist() == [1, 2]
    for array in (graph.parameter_bytes, graph.edges, graph.producer, graph.macs):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_order_of_a_file_that_is_not_topological_is_mended_smallest_first():
    graph = OpGraph.from_arrays([1] * 5, [1] * 5, [[4, 0], [0, 2], [3, 1]])
    assert graph.topological_order.tolist() == [3, 1, 4, 0, 2]


def test_whole_numbers_stay_exact_and_fractions_are_kept():
    assert OpGraph.from_arrays([2.0**52], [1], []).parameter_bytes.dtype == np.int64
    assert OpGraph.from_arrays([0.5], [1], []).parameter_bytes.tolist() == [0.5]


def test_a_graph_of_100000_ops_is_made_in_seconds():
    count = 100_000
    chain = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
    graph = OpGraph.from_arrays(np.ones(count), np.ones(count), chain)
    assert len(graph.edges) == count - 1


@pytest.mark.parametrize(
    ("parameters", "outputs", "edges", "match"),
    [
        ([], [], [], "at least one op"),
        ([1, -2], [1, 1], [], "parameter_bytes of op 1 is -2"),
        ([1, float("nan")], [1, 1], [], "op 1 is nan"),
        ([1, 1], [1, float("inf")], [], "output_bytes of op 1 is inf"),
        ([1, 1], [1], [], r"shape \[2\]"),
        ([[1], [1]], [1], [], r"shape \[num_ops\]"),
        (["a"], [1], [], "array of numbers"),
        ([1, 1], [1, 1], [[0, 2]], r"edge 0, \[0, 2\], is out of range"),
        ([1, 1], [1, 1], [[0, 1], [-1, 0]], "edge 1"),
        ([1, 1], [1, 1], [[1, 1]], "to itself"),
        ([1, 1], [1, 1], [0, 1], r"\[num_edges, 2\]"),
        ([1, 1], [1, 1], [[0.5, 1]], r"\[num_edges, 2\]"),
        ([1, 1, 1], [1, 1, 1], [[0, 1], [1, 2], [2, 1]], "cycle.*op 1.*op 2"),
        ([1, 2**63 - 1], [1, 1], [], r"parameter_bytes of op 1 .* 2\*\*60"),
        ([1, 2**63], [1, 1], [], r"parameter_bytes of op 1 .* 2\*\*60"),
        ([1, 2**64], [1, 1], [], r"parameter_bytes of op 1 .* 2\*\*60"),
        ([1, 10**400], [1, 1], [], "parameter_bytes of op 0 is inf"),
        ([1, 1], [1, 1e300], [], r"output_bytes of op 1 is 1e\+300"),
        ([1, 1 + 2j], [1, 1], [], "array of numbers"),
        ([1, "2"], [1, 1], [], "array of numbers"),
        ([1, None], [1, 1], [], "op 1 is nan"),
        ({1, 2}, [1, 1], [], "array of numbers"),
        ([[1], [1, 2]], [1, 1], [], "array of numbers"),
        ([1, 1], [1, 1], [[0, 1], [1]], "pairs of op indices"),
        ([1, 1], [1, 1], [[0, 2**64]], r"\[num_edges, 2\]"),
        ([1, 1], [1, 1], [[0, 1j]], r"\[num_edges, 2\]"),
        ([1, 1], [1, 1], [[[0, 1]]], r"\[num_edges, 2\]"),
        ([2**59, 2**59 + 2**12], [1, 1], [], r"too large: its parameters take 1\.15292e\+18"),
        ([1, 1], [2**59 + 2**12, 1], [[0, 1]], r"too large.*read 5\.76461e"),
    ],
)
def test_bad_arrays_are_refused_by_name(parameters, outputs, edges, match):
    with pytest.raises(GraphError, match=match):
        OpGraph.from_arrays(parameters, outputs, edges)


def test_sums_that_fit_are_exact():
    found = respect_tf.schedule(
        OpGraph.from_arrays([2**48 - 1, 2**48], [2**47, 1], [[0, 1]]), 2, objective="memory"
    )
    assert (found.cost, found.status) == (2**48, "optimal")


def test_macs_are_checked_too():
    for macs in ([1, 2**64], [2**59, 2**59 + 2**9], [1, -1], [1j, 1]):
        with pytest.raises(GraphError, match=r"macs|multiply-accumulates"):
            OpGraph.from_arrays([1, 1], [1, 1], [], macs=macs)


def test_a_graph_made_by_hand_is_checked_too():
    with pytest.raises(GraphError, match="too large"):
        dataclasses.replace(_diamond(), parameter_bytes=np.full(4, 2**62))


def test_one_name_per_op():
    for names in (3, "ab"):
        with pytest.raises(GraphError, match="list of strings"):
            OpGraph.from_arrays([1, 1], [1, 1], [], names=names)

    with pytest.raises(GraphError, match="one name per op"):
        OpGraph.from_arrays([1, 1], [1, 1], [], names=["only one"])
    with pytest.raises(TypeError):
        respect_tf.OpGraph.from_arrays([1], [1], [], [1])
