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
from respect_tf.graph import GRAPH_FEATURES, OP_FEATURES, OpGraph, graph_features
from respect_tf.policy import (
    MOST_ORDERS,
    Weights,
    layer_sizes,
    load_weights,
    propose,
    refined_orders,
    trunk,
    view_of,
)
from respect_tf.policy._forward import WEIGHT_GRID
from respect_tf.scheduling import OrderCuts, PeakMemory
from respect_tf.training import random_graph


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Random weights on the grid: what is proposed must be valid whatever they are."""
    random = np.random.default_rng(0)
    arrays = {}
    for layer, shape in layer_sizes(8, 2, 12).items():
        for kind, size in (("kernel", shape), ("bias", shape[1:])):
            if (layer, kind) != ("heads", "bias"):
                whole = np.rint(random.normal(0, 0.3, size) / WEIGHT_GRID)
                arrays[f"{layer}/{kind}"] = (whole * WEIGHT_GRID).astype(np.float32)
    return Weights(arrays, {})


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
    given = np.concatenate([view.rule[None], view.features.orders])
    orders, costs = refined_orders(view.links, view.features, given, 4, 20)
    improved = np.flatnonzero(np.isfinite(costs))
    assert improved[0] == 0
    assert np.all(np.diff(costs[improved]) < 0)
    cuts = OrderCuts(graph, 4, PeakMemory(weight))
    assert [cuts.cost(order) for order in orders[improved]] == costs[improved].tolist()
    # What is no better than all before it was cut, too.
    least = np.minimum.accumulate(costs)
    assert all(cuts.cost(o) >= c for o, c in zip(orders, least, strict=True))
    assert (improved[-1] >= len(given)) == (family == "wide")


def test_refining_ends_where_it_takes_long() -> None:
    graph = random_graph("wide", 70, 2)
    view = view_of(graph_features(graph, 4, transfer_cost=2.0), 4)
    given = np.concatenate([view.rule[None], view.features.orders])
    _, costs = refined_orders(view.links, view.features, given, 4, 20, most_work=1)
    assert np.isfinite(costs).tolist() == [True] + [False] * (len(costs) - 1)


def test_features_do_not_contain_the_answer() -> None:
    """What a cut of an order costs is nowhere among what the network sees."""
    named = " ".join((*OP_FEATURES, *GRAPH_FEATURES))
    assert not any(word in named for word in ("cut", "bottleneck", "heaviest", "rule", "stage_of"))


def test_no_order_of_additions_changes_a_bit(weights: Weights) -> None:
    """All products and sums are exact: extended precision and reversed sums give the same bits."""
    graph = random_graph("wide", 60, 5)
    features = graph_features(graph, 4, transfer_cost=1.0)
    found = trunk(weights.network, features)

    class Odd(np.ndarray):
        """A kernel whose products are summed backwards, in long double."""

        def __rmatmul__(self, values: Any) -> Any:
            left = np.asarray(values, np.longdouble)[..., ::-1]
            return np.asarray(left @ np.asarray(self, np.longdouble)[::-1], np.float64)

        __array_priority__ = 1000.0

    import respect_tf.policy._forward as module

    product = module._product
    try:
        module._product = lambda values, kernel: values @ np.asarray(kernel).view(Odd)
        other = trunk(weights.network, features)
    finally:
        module._product = product
    np.testing.assert_array_equal(found, np.asarray(other))
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
    assert load_weights().network.keys() == load_weights().arrays.keys()
