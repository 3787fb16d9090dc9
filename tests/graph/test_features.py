"""What the network sees of a graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import graphs

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, _features, _masses, _structural
from respect_tf.graph._features import GRAPH_FEATURES, OP_FEATURES, graph_features
from respect_tf.graph._structural import ORDERS, links_of
from respect_tf.training import random_graph

#     0   1
#      \ / \
#       2   3
#        \ /
#         4
DIAMOND = OpGraph.from_arrays(
    [10, 20, 30, 0, 40], [4, 5, 6, 7, 8], [[0, 2], [1, 2], [1, 3], [2, 4], [3, 4]]
)


def column(graph: OpGraph, name: str, num_stages: int = 2, **options: float) -> np.ndarray:
    features = graph_features(graph, num_stages, **options)
    return features.ops[:, OP_FEATURES.index(name)]


def test_masses_levels_and_degrees() -> None:
    least = 0.2  # a hundredth of the mean, for each op
    mass = (np.array([10, 20, 30, 0, 40]) + least) / (100 + 5 * least)
    before = [0, 0, mass[:2].sum(), mass[1], mass[:4].sum()]
    after = [mass[[2, 4]].sum(), mass[2:].sum(), mass[4], mass[4], 0]
    np.testing.assert_allclose(column(DIAMOND, "mass_before"), before, rtol=1e-6)
    np.testing.assert_allclose(column(DIAMOND, "mass_after"), after, rtol=1e-6)
    np.testing.assert_allclose(column(DIAMOND, "stages_before", 8), 2 * np.array(before), rtol=1e-6)
    np.testing.assert_allclose(column(DIAMOND, "level_from_source"), [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(column(DIAMOND, "level_from_sink"), [1, 1, 0.5, 0.5, 0])
    np.testing.assert_allclose(column(DIAMOND, "in_degree"), [0, 0, 2 / 6, 1 / 5, 2 / 6], rtol=1e-6)
    np.testing.assert_allclose(
        column(DIAMOND, "out_degree"), [1 / 5, 2 / 6, 1 / 5, 1 / 5, 0], rtol=1e-6
    )
    assert column(DIAMOND, "has_cost").tolist() == [1, 1, 1, 0, 1]
    assert column(DIAMOND, "is_join").tolist() == [0, 0, 1, 0, 1]
    assert column(DIAMOND, "is_fork").tolist() == [0, 1, 0, 0, 0]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_masses_are_those_of_all_ancestors(data: st.DataObject) -> None:
    num_ops = data.draw(st.integers(1, 150))
    reach = data.draw(st.sampled_from([1, 2, 8, 70, 150]))
    pairs = st.tuples(st.integers(0, num_ops - 1), st.integers(1, reach))
    drawn = data.draw(st.lists(pairs, max_size=3 * num_ops))
    dense = {(op, op + 1) for op in range(data.draw(st.integers(0, num_ops)))}
    edges = sorted({(op, op + by) for op, by in drawn} | dense)
    edges = np.array([pair for pair in edges if pair[1] < num_ops], np.int64).reshape(-1, 2)
    mass = np.arange(num_ops, dtype=float) ** 2 + 1
    reached = np.eye(num_ops, dtype=bool)
    for maker, reader in edges[np.argsort(edges[:, 1], kind="stable")]:
        reached[:, reader] |= reached[:, maker]
    np.fill_diagonal(reached, val=False)
    for compiled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not compiled:
                patch.setattr(_masses, "loop", lambda function: function)
            links = links_of(edges, num_ops)
            np.testing.assert_array_equal(_masses.masses_before(links, mass), mass @ reached)
            np.testing.assert_array_equal(_masses.masses_after(links, mass), reached @ mass)


@given(graph=graphs(max_ops=30), num_stages=st.integers(1, 9), transfer=st.sampled_from([0, 0.3]))
@settings(max_examples=40, deadline=None)
def test_features_in_c_are_those_in_numpy(graph: OpGraph, num_stages: int, transfer: float) -> None:
    found = graph_features(graph, num_stages, transfer_cost=transfer)
    with pytest.MonkeyPatch.context() as patch:
        for module in (_features, _masses, _structural):
            patch.setattr(module, "loop", lambda function: function)
        plain = graph_features(graph, num_stages, transfer_cost=transfer)
    np.testing.assert_array_equal(found.ops, plain.ops)
    np.testing.assert_array_equal(found.graph, plain.graph)
    np.testing.assert_array_equal(found.orders, plain.orders)


def test_shares_count_in_stages() -> None:
    shares = np.array([0.4, 0.8, 1.2, 0, 1.6])
    np.testing.assert_allclose(column(DIAMOND, "cost_share", 4), shares / (1 + shares), rtol=1e-6)
    shares = 4 * 0.5 * np.array([4, 5, 6, 7, 8]) / 100
    np.testing.assert_allclose(
        column(DIAMOND, "transfer_share", 4, transfer_cost=0.5), shares / (1 + shares), rtol=1e-6
    )
    assert column(DIAMOND, "transfer_ratio", transfer_cost=5.0)[0] == pytest.approx(20 / 30)
    assert np.all(column(DIAMOND, "transfer_ratio") == 0)


def test_ranks_are_topological_orders() -> None:
    for graph in (DIAMOND, random_graph("wide", 60, 0), random_graph("towers", 90, 1)):
        for name in ORDERS:
            ranks = column(graph, f"{name}_rank")
            expected = (np.arange(graph.num_ops) + 0.5) / graph.num_ops
            np.testing.assert_allclose(np.sort(ranks), expected, rtol=1e-6)
            assert np.all(ranks[graph.edges[:, 0]] < ranks[graph.edges[:, 1]]), name


def test_the_graph_as_a_whole() -> None:
    found = dict(zip(GRAPH_FEATURES, graph_features(DIAMOND, 8).graph.tolist(), strict=True))
    assert found["num_stages"] == pytest.approx(8 / 12)
    assert found["depth"] == pytest.approx(3 / 5)
    assert found["mean_degree"] == pytest.approx(1 / 2)
    assert found["largest_cost_share"] == pytest.approx(3.2 / 4.2)


def test_ops_may_be_numbered_against_the_edges() -> None:
    graph = random_graph("wide", 50, 3)
    shuffle = np.random.default_rng(0).permutation(50)  # new number of each op
    parameters, outputs = np.empty(50, int), np.empty(50, int)
    parameters[shuffle], outputs[shuffle] = graph.parameter_bytes, graph.tensor_bytes
    other = OpGraph.from_arrays(parameters, outputs, shuffle[graph.edges])
    one, two = graph_features(graph, 4), graph_features(other, 4)
    by_number = [name for name in OP_FEATURES if not name.endswith("_rank")]
    for name in by_number:
        index = OP_FEATURES.index(name)
        np.testing.assert_allclose(one.ops[:, index], two.ops[shuffle, index], rtol=1e-5)
    np.testing.assert_allclose(one.graph, two.graph, rtol=1e-6, atol=1e-9)


def test_degenerate_graphs_have_finite_features() -> None:
    for graph in (
        OpGraph.from_arrays([0], [0], np.zeros((0, 2), int)),
        OpGraph.from_arrays([0, 0], [5, 0], [[0, 1]]),
        OpGraph.from_arrays([1e15, 1e-9], [1e15, 0], [[0, 1]]),
    ):
        features = graph_features(graph, 64, transfer_cost=1.0)
        assert np.all(np.isfinite(features.ops))
        assert np.all(np.isfinite(features.graph))


@pytest.mark.parametrize(
    "wrong",
    [{"op_costs": [1, 2]}, {"op_costs": [-1.0] * 5}, {"transfer_cost": float("nan")}],
)
def test_wrong_arguments_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        graph_features(DIAMOND, 2, **wrong)
