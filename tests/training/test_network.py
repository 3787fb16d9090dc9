"""The network in TF-GNN, and its copy in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, graph_features, merged_graph_tensor, schema_text
from respect_tf.policy import Weights, head_inputs, rounded_weights, trunk
from respect_tf.training import NetworkSize, build_network, named_weights, random_graph

GRAPHS = {
    "one op": OpGraph.from_arrays([3], [1], np.zeros((0, 2), int)),
    "no costs": OpGraph.from_arrays([0, 0, 0], [0, 0, 0], [[0, 1], [0, 2]]),
    "levels": random_graph("levels", 40, 1),
    "transformer": random_graph("transformer", 120, 2),
}
SIZE = NetworkSize(units=16, rounds=2, heads=5)


@pytest.fixture(scope="module")
def network() -> Any:
    network = build_network(SIZE)
    random = np.random.default_rng(0)
    for weight in network.weights:  # biases too, which are zeros at first
        weight.assign(random.normal(0, 0.3, weight.shape))
    return network


@pytest.mark.slow
def test_numpy_computes_what_the_network_computes(network: Any) -> None:
    from respect_tf.training._network import assign_weights

    weights = Weights(rounded_weights(named_weights(network)), {})
    assign_weights(network, weights.arrays)
    features = [graph_features(graph, 3, transfer_cost=2.0) for graph in GRAPHS.values()]
    rules = [one.orders[0] for one in features]
    ranks = [(np.argsort(rule) + 0.5) / len(rule) for rule in rules]
    merged = merged_graph_tensor(features, [3] * len(features))
    theirs = network([merged, np.concatenate(ranks)[:, None].astype(np.float32)]).numpy()
    ours, mine = weights.network, []
    for one, rule in zip(features, rules, strict=True):
        states = trunk(ours, one)
        mine.append(head_inputs(states, one, rule) @ ours.heads)
    # States are rounded to 2**-16.
    np.testing.assert_allclose(np.concatenate(mine), theirs, rtol=1e-4, atol=2e-3)
    assert np.abs(theirs).max() > 1


@pytest.mark.slow
def test_weights_have_names_and_can_be_put_back(network: Any) -> None:
    from respect_tf.training._network import assign_weights

    arrays = named_weights(network)
    other = build_network(SIZE)
    assign_weights(other, arrays)
    for name, array in named_weights(other).items():
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("wrong", [{"units": 0}, {"rounds": True}, {"heads": 1.5}])
def test_a_size_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        NetworkSize(**wrong)


@pytest.mark.slow
def test_schema_describes_the_tensor() -> None:
    from respect_tf.graph import graph_tensor_spec

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
