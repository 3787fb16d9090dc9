"""Sequences are topological orders, drawn with the probabilities that they are said to have."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from respect_tf.graph import OpGraph
from respect_tf.graph._features import graph_features
from respect_tf.scheduling._rollout import greedy_order, sample_orders, score_order, successors_of
from respect_tf.training import random_graph

SMALL = OpGraph.from_arrays([5, 1, 7, 2, 3], [1, 2, 3, 4, 5], [[0, 2], [1, 2], [1, 3], [3, 4]])


def is_topological(graph: OpGraph, order: Any) -> bool:
    place = np.empty(graph.num_ops, int)
    place[np.asarray(order)] = np.arange(graph.num_ops)
    return sorted(order) == list(range(graph.num_ops)) and bool(
        np.all(place[graph.edges[:, 0]] < place[graph.edges[:, 1]])
    )


def plackett_luce(graph: OpGraph, priorities: list[float]) -> dict[tuple[int, ...], float]:
    """The probability of each topological order, from the definition."""
    probabilities = {}
    for order in itertools.permutations(range(graph.num_ops)):
        if not is_topological(graph, order):
            continue
        probability = 1.0
        for place, op in enumerate(order):
            done = set(order[:place])
            ready = [
                other
                for other in range(graph.num_ops)
                if other not in done
                and all(maker in done for maker, reader in graph.edges.tolist() if reader == other)
            ]
            rates = {other: math.exp(priorities[other]) for other in ready}
            probability *= rates[op] / sum(rates.values())
        probabilities[order] = probability
    return probabilities


PRIORITIES = [0.3, -0.5, 1.2, 0.4, -1.0]


def test_the_race_draws_from_plackett_luce() -> None:
    expected = plackett_luce(SMALL, PRIORITIES)
    orders = sample_orders(successors_of(SMALL), PRIORITIES, 20_000, 0)
    found, counts = np.unique(orders, axis=0, return_counts=True)
    shares = dict(zip(map(tuple, found.tolist()), counts / len(orders), strict=True))
    assert set(shares) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    for order, probability in expected.items():
        spread = math.sqrt(probability * (1 - probability) / len(orders))
        assert shares.get(order, 0.0) == pytest.approx(probability, abs=5 * spread)


def test_priorities_far_apart_leave_the_greedy_order() -> None:
    rows = successors_of(SMALL)
    far = 1e5 * np.array(PRIORITIES)
    assert np.all(sample_orders(rows, far, 20, 0) == greedy_order(rows, far))
    assert len(np.unique(sample_orders(rows, far / 1e5, 20, 0), axis=0)) > 1


def log_probability(graph: OpGraph, priorities: np.ndarray, order: Any) -> float:
    left = np.bincount(graph.edges[:, 1], minlength=graph.num_ops)
    done: set[int] = set()
    total = 0.0
    for op in order:
        ready = [other for other in np.flatnonzero(left == 0) if other not in done]
        total += priorities[op] - np.log(np.exp(priorities[ready]).sum())
        done.add(op)
        left[graph.edges[graph.edges[:, 0] == op, 1]] -= 1
    return float(total)


def test_the_score_is_the_gradient_of_the_log_probability() -> None:
    graph = random_graph("wide", 12, 3)
    rows = successors_of(graph)
    priorities = np.random.default_rng(0).normal(size=12)
    for order in sample_orders(rows, priorities, 3, 1):
        found = score_order(*rows, priorities, order)
        for op, one in enumerate(np.eye(12)):
            up, down = (log_probability(graph, priorities + h * one, order) for h in (1e-5, -1e-5))
            assert found[op] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_the_same_seed_gives_the_same_orders() -> None:
    rows = successors_of(SMALL)
    one, two = (sample_orders(rows, PRIORITIES, 50, seed) for seed in (3, 3))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, sample_orders(rows, PRIORITIES, 50, 4))


def test_the_greedy_order_takes_the_highest_ready_priority() -> None:
    assert greedy_order(successors_of(SMALL), PRIORITIES).tolist() == [0, 1, 2, 3, 4]
    assert greedy_order(successors_of(SMALL), [0, 1, 0, 2, 3]).tolist() == [1, 3, 4, 0, 2]
    assert greedy_order(successors_of(SMALL), [0.0] * 5).tolist() == [0, 1, 2, 3, 4]


def test_orders_of_one_op_and_of_thousands() -> None:
    one = OpGraph.from_arrays([1], [1], np.zeros((0, 2), int))
    assert greedy_order(successors_of(one), [2.0]).tolist() == [0]
    large = random_graph("wide", 3000, 0)
    priorities = np.random.default_rng(0).normal(size=3000)
    assert is_topological(large, greedy_order(successors_of(large), priorities).tolist())
    for order in sample_orders(successors_of(large), 10 * np.sign(priorities), 2, 0):
        assert is_topological(large, order.tolist())


@pytest.fixture(scope="module")
def network() -> Any:
    from respect_tf.training._network import NetworkSize, build_network

    return build_network(NetworkSize(units=8, rounds=1))


@pytest.fixture(scope="module")
def graphs() -> list[OpGraph]:
    return [SMALL, random_graph("levels", 12, 0), OpGraph.from_arrays([3], [1], np.zeros((0, 2)))]


@pytest.fixture(scope="module")
def merged(graphs: list[OpGraph]) -> Any:
    from respect_tf.graph._graph_tensor import merged_graph_tensor

    return merged_graph_tensor([graph_features(graph, 1) for graph in graphs], [1] * len(graphs))


def check_orders(graphs: list[OpGraph], decoded: Any, num_samples: int) -> None:
    orders = decoded.orders.numpy()
    assert orders.shape == (len(graphs) * num_samples, 12)
    for row, order in enumerate(orders.tolist()):
        graph = graphs[row // num_samples]
        assert is_topological(graph, order[: graph.num_ops])
        assert set(order[graph.num_ops :]) <= {-1}
    assert np.all(decoded.log_probability.numpy() <= 0)


@pytest.mark.slow
def test_one_shot_decoder(network: Any, graphs: list[OpGraph], merged: Any) -> None:
    import tensorflow as tf

    from respect_tf.training._decoders import OneShotDecoder

    decoder = OneShotDecoder(network)
    greedy = decoder.greedy(merged)
    check_orders(graphs, greedy, 1)
    found = network(merged)
    best = found.gate.numpy().argmax(axis=1)
    rows = np.split(
        found.priorities.numpy().astype(float), np.cumsum([graph.num_ops for graph in graphs])[:-1]
    )
    for graph, priorities, first, order in zip(
        graphs, rows, best, greedy.orders.numpy(), strict=True
    ):
        expected = greedy_order(successors_of(graph), priorities[:, first])
        assert order[: graph.num_ops].tolist() == expected.tolist()

    sampled = decoder.sample(merged, tf.constant([1, 2]), 16, 1.0)
    check_orders(graphs, sampled, 16)
    again = decoder.sample(merged, tf.constant([1, 2]), 16, 1.0)
    assert np.array_equal(sampled.orders, again.orders)
    assert len(np.unique(sampled.orders.numpy()[:16], axis=0)) > 1
    cold = decoder.sample(merged, tf.constant([1, 2]), 16, 1e-6)
    assert len(np.unique(cold.orders.numpy()[:16], axis=0)) <= found.gate.shape[1]


@pytest.mark.slow
def test_log_probabilities_of_one_shot_samples(graphs: list[OpGraph], merged: Any) -> None:
    import tensorflow as tf

    from respect_tf.training._decoders import OneShotDecoder
    from respect_tf.training._network import NetworkSize, build_network

    network = build_network(NetworkSize(units=8, rounds=1))
    bias = np.zeros(network.get_layer("gate").bias.shape)
    bias[2] = 60.0  # one order for sure
    network.get_layer("gate").bias.assign(bias)
    sampled = OneShotDecoder(network).sample(merged, tf.constant([1, 2]), 16, 1.0)
    priorities = network(merged).priorities.numpy()[:, 2].astype(float)
    for row, order in enumerate(sampled.orders.numpy()[:32]):
        graph = graphs[row // 16]
        first = SMALL.num_ops if row >= 16 else 0
        expected = log_probability(
            graph, priorities[first : first + graph.num_ops], order[: graph.num_ops]
        )
        assert float(sampled.log_probability[row]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_pointer_decoder(network: Any, graphs: list[OpGraph], merged: Any) -> None:
    import tensorflow as tf

    from respect_tf.training._decoders import PointerDecoder

    decoder = PointerDecoder(network, units=8)
    check_orders(graphs, decoder.greedy(merged), 1)
    sampled = decoder.sample(merged, tf.constant([1, 2]), 4, 1.0)
    check_orders(graphs, sampled, 4)
    with tf.GradientTape() as tape:
        given = decoder.log_probability(merged, sampled.orders)
        loss = -tf.reduce_mean(given)
    np.testing.assert_allclose(given, sampled.log_probability, atol=1e-4)
    gradients = tape.gradient(loss, decoder.layers.trainable_weights)
    assert all(gradient is not None for gradient in gradients)
    assert any(float(tf.norm(gradient)) > 0 for gradient in gradients)
