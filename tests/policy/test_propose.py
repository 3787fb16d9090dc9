"""What the policy proposes: valid orders, the same everywhere, from features without the answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import graphs

from respect_tf._errors import ArgumentError, PolicyFileError
from respect_tf._loops.twins import compiled
from respect_tf.graph import GRAPH_FEATURES, OP_FEATURES, OpGraph, graph_features
from respect_tf.policy import (
    MOST_ORDERS,
    Weights,
    layer_sizes,
    propose,
    refined_orders,
    rounded_weights,
    trunk,
    view_of,
)
from respect_tf.policy._forward import run_trunk
from respect_tf.scheduling import OrderCuts, PeakMemory
from respect_tf.training import random_graph


def random_weights(seed: int, units: int, rounds: int, heads: int, size: float) -> Weights:
    """Random weights on the grid: what is proposed must be valid whatever they are."""
    random = np.random.default_rng(seed)
    arrays = {}
    for layer, shape in layer_sizes(units, rounds, heads).items():
        for kind, part in (("kernel", shape), ("bias", shape[1:])):
            if (layer, kind) != ("heads", "bias"):
                arrays[f"{layer}/{kind}"] = size * random.standard_normal(part)
    return Weights(rounded_weights(arrays), {})


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights(0, 8, 2, 12, 0.3)


def check_orders(graph: OpGraph, orders: Any) -> None:
    assert orders.dtype == np.int32
    assert 1 <= len(orders) <= MOST_ORDERS
    assert len(np.unique(orders, axis=0)) == len(orders)
    for order in orders:
        place = np.empty(graph.num_ops, int)
        place[order] = np.arange(graph.num_ops)
        assert sorted(order.tolist()) == list(range(graph.num_ops))
        assert np.all(place[graph.edges[:, 0]] < place[graph.edges[:, 1]])


@settings(max_examples=40, deadline=None)
@given(
    graph=graphs(max_ops=9),
    num_stages=st.integers(1, 12),
    transfer_cost=st.sampled_from([0.0, 0.3, 1e12]),
)
def test_orders_are_topological_and_distinct(
    weights: Weights, graph: OpGraph, num_stages: int, transfer_cost: float
) -> None:
    options = {"transfer_cost": transfer_cost, "weights": weights}
    orders = propose(graph, num_stages, **options)
    check_orders(graph, orders)
    np.testing.assert_array_equal(orders[:1], propose(graph, num_stages, max_orders=1, **options))


@pytest.mark.parametrize("family", ["nasnet", "wide", "resnet", "towers"])
def test_shipped_weights_propose_several_orders_where_there_are_several(family: str) -> None:
    graph = random_graph(family, 90, 3)
    orders = propose(graph, 4, transfer_cost=2.0)
    check_orders(graph, orders)
    assert len(orders) == MOST_ORDERS
    cuts = OrderCuts(graph, 4, PeakMemory(1.0))
    costs = [cuts.cost(order) for order in orders]
    assert costs[0] == min(costs)
    view = view_of(graph_features(graph, 4, transfer_cost=2.0), 4)
    assert view.rule.tolist() in orders[:2].tolist()
    with_costs = propose(graph, 4, op_costs=np.ones(90))
    check_orders(graph, with_costs)


def test_a_chain_has_one_order() -> None:
    steps = np.arange(20)
    chain = OpGraph.from_arrays(steps, steps, np.stack([steps[:-1], steps[1:]], axis=1))
    assert propose(chain, 3).tolist() == [steps.tolist()]


@pytest.mark.parametrize(("family", "weight"), [("wide", 0.0), ("hrnet", 1.0), ("nasnet", 1.0)])
def test_refined_orders_get_better_and_cost_what_is_said(family: str, weight: float) -> None:
    graph = random_graph(family, 70, 2)
    view = view_of(graph_features(graph, 4, transfer_cost=2 * weight), 4)
    orders, costs = refined_orders(view.features, view.rule[None], 4, 20)
    num_given = len(np.unique(view.features.orders, axis=0))
    improved = np.flatnonzero(np.isfinite(costs))
    assert improved[0] == 0
    assert np.all(np.diff(costs[improved]) < 0)
    cuts = OrderCuts(graph, 4, PeakMemory(weight))
    assert [cuts.cost(order) for order in orders[improved]] == costs[improved].tolist()
    # What is no better than all before it was cut, too.
    least = np.minimum.accumulate(costs)
    assert all(cuts.cost(o) >= c for o, c in zip(orders, least, strict=True))
    assert (improved[-1] >= num_given) == (family == "wide")


def test_refining_ends_where_it_takes_long() -> None:
    graph = random_graph("wide", 70, 2)
    view = view_of(graph_features(graph, 4, transfer_cost=2.0), 4)
    orders, costs = refined_orders(view.features, view.rule[None], 4, 20, most_work=1)
    assert np.isfinite(costs).tolist() == [True] + [False] * (len(costs) - 1)
    for order in orders:  # tried or not
        check_orders(graph, order[None].astype(np.int32))


def test_features_do_not_contain_the_answer() -> None:
    """What a cut of an order costs is nowhere among what the network sees."""
    named = " ".join((*OP_FEATURES, *GRAPH_FEATURES))
    assert not any(word in named for word in ("cut", "bottleneck", "heaviest", "rule", "stage_of"))


@settings(max_examples=60, deadline=None)
@given(
    graph=graphs(max_ops=40),
    units=st.sampled_from([1, 3, 8, 11, 16, 17]),
    rounds=st.integers(1, 3),
    size=st.sampled_from([0.1, 1.0, 16.0]),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.skipif(compiled("run_trunk") is None, reason="there is no compiler")
def test_the_network_in_c_and_in_numpy_give_the_same_bits(
    graph: OpGraph, units: int, rounds: int, size: float, seed: int
) -> None:
    """They add in different orders: all sums are exact, however large weights and states are."""
    network = random_weights(seed, units, rounds, 2, size).network
    features = graph_features(graph, 4, transfer_cost=1.0)
    links = features.links
    found = trunk(network, features)
    plain = np.empty_like(found)
    rows = (*links.before, *links.after)
    run_trunk(*rows, features.ops, features.graph, network.layers, plain, network.rounds)
    np.testing.assert_array_equal(found, plain)
    assert np.all(found * 2.0**16 == np.rint(found * 2.0**16))


def test_units_of_cost_change_nothing() -> None:
    graph = random_graph("hrnet", 80, 1)
    larger = OpGraph.from_arrays(
        1024 * graph.parameter_bytes, 1024 * graph.tensor_bytes, graph.edges
    )
    one, two = (propose(g, 4, transfer_cost=1.0) for g in (graph, larger))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "8"])
def test_max_orders_is_a_count(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="max_orders"):
        propose(random_graph("wide", 30, 0), 2, max_orders=wrong)


@pytest.mark.parametrize("wrong", [{"num_stages": 0}, {"op_costs": [1.0]}, {"transfer_cost": -1.0}])
def test_wrong_arguments_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        propose(random_graph("wide", 30, 0), **{"num_stages": 2, **wrong})


def test_weights_off_the_grid_are_refused(weights: Weights) -> None:
    arrays = dict(weights.arrays)
    arrays["heads/kernel"] = arrays["heads/kernel"] + np.float32(1e-5)
    with pytest.raises(PolicyFileError, match=r"'heads/kernel' are no multiples"):
        propose(random_graph("wide", 30, 0), 2, weights=dataclasses.replace(weights, arrays=arrays))
    arrays["heads/kernel"] = np.full_like(arrays["heads/kernel"], 99.0)
    with pytest.raises(PolicyFileError, match="no multiples"):
        Weights(arrays, {}).network  # noqa: B018
