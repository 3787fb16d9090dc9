"""The reproduction of RESPECT: sequences, rewards, and a short run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph
from respect_tf.training import (
    Label,
    RespectPlan,
    RespectRun,
    cosine_reward,
    label_task,
    random_graph,
    solve_task,
)


def is_topological(graph: OpGraph, order: Any) -> bool:
    place = np.empty(graph.num_ops, int)
    place[order] = np.arange(graph.num_ops)
    return sorted(order) == list(range(graph.num_ops)) and bool(
        np.all(place[graph.edges[:, 0]] < place[graph.edges[:, 1]])
    )


def test_the_cosine_reward_is_one_for_the_teachers_own_order() -> None:
    stages = np.array([0, 1, 0, 2], np.int32)
    assert cosine_reward(stages, np.array([0, 2, 1, 3])) == pytest.approx(1)
    # (1, 2, 1, 3) against (1, 1, 2, 3)
    assert cosine_reward(stages, np.array([0, 1, 2, 3])) == pytest.approx(14 / 15)


def test_a_plan_names_its_reward() -> None:
    with pytest.raises(ArgumentError, match="reward"):
        RespectPlan("speed")  # type: ignore[arg-type]


@pytest.mark.slow
def test_sequences_keep_the_edges_and_probabilities_add_up() -> None:
    from respect_tf.training._pointer import graph_batch, pointer_network

    #  0   1     Its topological orders: 0 1 2, 1 0 2.
    #   \ /
    #    2
    small = OpGraph.from_arrays([3, 1, 2], [1, 1, 1], [[0, 2], [1, 2]])
    network = pointer_network(8)
    batch = graph_batch([small] * 64)
    orders, logs = network(batch, np.array([0, 1], np.int32))
    found = {
        tuple(order): float(np.exp(log))
        for order, log in zip(orders.numpy().tolist(), logs.numpy(), strict=True)
    }
    assert set(found) == {(0, 1, 2), (1, 0, 2)}
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    again, _ = network(batch, np.array([0, 1], np.int32))
    np.testing.assert_array_equal(orders, again)
    _, log = network(tuple(part[:1] for part in batch))
    assert float(np.exp(log[0])) == pytest.approx(max(found.values()), abs=1e-5)
    wide = random_graph("wide", 40, 0)
    drawn, _ = network(graph_batch([wide] * 3), np.array([2, 1], np.int32))
    assert all(is_topological(wide, order) for order in drawn.numpy().tolist())


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    return [
        solve_task(label_task(index, 20, num_ops=(30, 30), mix=("levels",))) for index in range(6)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["cosine", "cut"])
def test_a_short_run(labels: list[Label], reward: Any) -> None:
    plan = RespectPlan(reward, epochs=2, epoch_steps=1, batch=4, units=8)
    found = RespectRun(labels[:4], labels[4:], plan, verbose=0)
    curve = found.run()
    assert [one.step for one in curve] == [0, 1, 2]
    assert not curve[0].baseline_replaced
    for one in curve:
        assert 0 < one.likeness <= 1
        assert one.gap >= -1e-9
    graph = random_graph("levels", 50, 3)
    assert is_topological(graph, found.order(graph).tolist())
    again = RespectRun(labels[:4], labels[4:], plan, verbose=0).run()
    assert again == curve


def test_graphs_of_several_sizes_are_refused(labels: list[Label]) -> None:
    other = label_task(0, 20, num_ops=(31, 31), mix=("levels",))
    longer = Label(other, np.zeros(31, np.int32), 1.0, 1.0)
    with pytest.raises(ArgumentError, match=r"same number of ops.*\[30, 31\]"):
        RespectRun(labels[:2], [longer])
