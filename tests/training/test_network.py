"""The network in TF-GNN, its copy in numpy, and what the two say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from respect_tf._errors import ArgumentError, PolicyFileError
from respect_tf.graph import OpGraph
from respect_tf.graph._features import FIRST_RANK, graph_features
from respect_tf.graph._structural import ORDERS
from respect_tf.policy._forward import Forward, forward
from respect_tf.policy._weights import Weights
from respect_tf.scheduling import PeakMemory, slice_order
from respect_tf.scheduling._guide import Guidance, guide, stage_probabilities
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._rollout import greedy_order, successors_of
from respect_tf.training import random_graph

GRAPHS = {
    "one op": OpGraph.from_arrays([3], [1], np.zeros((0, 2), int)),
    "no costs": OpGraph.from_arrays([0, 0, 0], [0, 0, 0], [[0, 1], [0, 2]]),
    "levels": random_graph("levels", 40, 1),
    "transformer": random_graph("transformer", 120, 2),
}


@pytest.fixture(scope="module")
def network() -> Any:
    from respect_tf.graph._tfgnn import load_tf_keras
    from respect_tf.training._network import NetworkSize, build_network

    load_tf_keras().utils.set_random_seed(1)
    network = build_network(NetworkSize(units=16, rounds=2))
    random = np.random.default_rng(0)
    for weight in network.weights:  # biases too, which are zeros at first
        weight.assign(random.normal(0, 0.3, weight.shape))
    return network


@pytest.fixture(scope="module")
def weights(network: Any) -> Weights:
    from respect_tf.training._network import named_weights

    return Weights(named_weights(network), {})


@pytest.mark.slow
def test_numpy_computes_what_the_network_computes(network: Any, weights: Weights) -> None:
    from respect_tf.graph._graph_tensor import merged_graph_tensor

    features = [graph_features(graph, 3, transfer_cost=2.0) for graph in GRAPHS.values()]
    theirs = Forward(*network(merged_graph_tensor(features, [3] * len(features))))
    start = 0
    for row, one in enumerate(features):
        mine = forward(weights.arrays, one, 3)
        part = slice(start, start := start + len(one.ops))
        for name in ("priorities", "places", "states"):
            found, expected = getattr(mine, name), getattr(theirs, name)[part]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(mine.gate, theirs.gate[row], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_fresh_weights_take_structural_orders_as_they_are() -> None:
    from respect_tf.training._network import NetworkSize, build_network, named_weights

    arrays = named_weights(build_network(NetworkSize(units=8, rounds=1)))
    for graph in GRAPHS.values():
        features = graph_features(graph, 5, transfer_cost=1.0)
        found = forward(arrays, features, 5)
        heaviest, bottleneck = features.graph[-2 * len(ORDERS) :].reshape(2, -1)
        assert found.gate.argmax() == (10 * bottleneck + 2 * heaviest).argmin()
        priorities = found.priorities
        for column in range(len(ORDERS)):
            expected = np.argsort(features.ops[:, FIRST_RANK + column])
            order = greedy_order(successors_of(graph), priorities[:, column])
            assert np.array_equal(order, expected), ORDERS[column]


@pytest.mark.slow
def test_probabilities_are_those_that_the_loss_trains(weights: Weights) -> None:
    import tensorflow as tf

    from respect_tf.training._losses import stage_logits

    places = np.random.default_rng(0).normal(size=(7, 2))
    count = tf.fill([7], 5)
    later = tf.sigmoid(stage_logits(tf.constant(places, tf.float32), count, 5)).numpy()
    found = stage_probabilities(places, 5)
    np.testing.assert_allclose(1 - np.cumsum(found, axis=1)[:, :-1], later, atol=1e-5)


@pytest.mark.slow
def test_weights_have_names_and_can_be_put_back(network: Any, weights: Weights) -> None:
    from respect_tf.training._network import (
        NetworkSize,
        assign_weights,
        build_network,
        named_weights,
    )

    other = build_network(NetworkSize(units=16, rounds=2))
    assign_weights(other, weights.arrays)
    for name, array in named_weights(other).items():
        assert np.array_equal(array, weights.arrays[name])


def ops_of(problem: Problem, items: Any) -> Any:
    """The ops of items in order."""
    return np.concatenate([np.flatnonzero(problem.item_of == item) for item in items])


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("num_stages", [1, 3, 40])
def test_guidance_is_valid(weights: Weights, name: str, num_stages: int) -> None:
    graph = GRAPHS[name]
    if num_stages > graph.num_ops:
        pytest.skip("more stages than ops")
    problem = build_problem(graph, num_stages, PeakMemory(1.0), None)
    guidance = guide(problem, weights)
    np.testing.assert_allclose(guidance.stage_probabilities.sum(axis=1), 1)
    assert np.all(guidance.stage_probabilities >= 0)
    # `slice_order` raises if an order is not topological.
    slice_order(graph, ops_of(problem, guidance.greedy_order()), num_stages, PeakMemory())
    for order in guidance.sample_orders(3, 0):
        slice_order(graph, ops_of(problem, order), num_stages, PeakMemory())


def test_units_and_repetition_change_nothing(weights: Weights) -> None:
    graph = GRAPHS["levels"]
    larger = OpGraph.from_arrays(
        1000 * graph.parameter_bytes, 1000 * graph.tensor_bytes, graph.edges
    )

    def guidance_of(graph: OpGraph) -> Guidance:
        return guide(build_problem(graph, 4, PeakMemory(1.0), None), weights)

    one, two, other = guidance_of(graph), guidance_of(graph), guidance_of(larger)
    assert np.array_equal(one.priorities, two.priorities)
    np.testing.assert_allclose(one.priorities, other.priorities, atol=1e-5)
    assert np.array_equal(one.sample_orders(4, 9), two.sample_orders(4, 9))
    with pytest.raises(ArgumentError, match="temperature"):
        one.sample_orders(4, 9, temperature=0.0)


def test_weights_of_another_network_are_refused(weights: Weights) -> None:
    arrays = {name: array for name, array in weights.arrays.items() if name != "gate/kernel"}
    problem = build_problem(GRAPHS["levels"], 4, PeakMemory(), None)
    with pytest.raises(PolicyFileError, match="gate/kernel"):
        guide(problem, Weights(arrays, {}))


def test_items_of_several_ops_have_one_place(weights: Weights) -> None:
    base = GRAPHS["levels"]
    import dataclasses

    graph = dataclasses.replace(base, colocated=base.edges[:2])
    problem = build_problem(graph, 3, PeakMemory(), None)
    guidance = guide(problem, weights)
    assert guidance.stage_probabilities.shape == (problem.num_items, 3)
    assert sorted(guidance.greedy_order().tolist()) == list(range(problem.num_items))


@pytest.mark.slow
def test_schema_describes_the_tensor(tmp_path: Path) -> None:
    from respect_tf.graph._graph_tensor import graph_tensor_spec, schema_text

    tensor = GRAPHS["levels"].to_graph_tensor(4)
    assert graph_tensor_spec(single=True).is_compatible_with(tensor)
    text = schema_text()
    for part in ("feeds", "fed_by", "features", "num_stages"):
        assert part in text
    edges = tensor.edge_sets["feeds"].adjacency
    pairs = np.stack([edges.source, edges.target], axis=1)
    assert np.array_equal(pairs, GRAPHS["levels"].edges)
    back = tensor.edge_sets["fed_by"].adjacency
    assert np.array_equal(back.source, edges.target)
    assert np.array_equal(back.target, edges.source)
    with pytest.raises(ArgumentError, match="num_stages"):
        GRAPHS["levels"].to_graph_tensor(0)
