"""How good the shipped weights are, on graphs that training did not see."""

from __future__ import annotations

import numpy as np
import pytest
from slow_clock import SlowClock

from respect_tf.training import (
    evaluate,
    evaluation_rows,
    example_of,
    label_task,
    least_cost,
    noisy_orders,
)
from respect_tf.training._evaluate import (
    FILE,
    NOISE,
    PROPOSAL,
    RULE,
    SEARCH,
    STRUCTURAL,
    gaps,
)
from respect_tf.training._labels import STRUCTURED


def test_proposals_beat_the_rule_and_all_structural_orders() -> None:
    for mix in (("levels", "wide"), STRUCTURED):
        tasks = [label_task(index, 40, num_ops=(50, 90), mix=mix) for index in range(30)]
        found = evaluate(tasks, search_seconds=0.2)
        assert gaps(found, PROPOSAL)[0] < 0.75 * gaps(found, RULE)[0]
        assert gaps(found, PROPOSAL)[0] < gaps(found, STRUCTURAL)[0]


def test_costs_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [label_task(index, 41, num_ops=(30, 30), mix=("towers", "fpn")) for index in range(4)]
    SlowClock(monkeypatch, 0.002)
    found = evaluate(tasks, search_seconds=0.2, num_noisy=2)
    for one in found:
        assert one.reference == min(one.costs.values())
        assert max(one.costs[kind] for kind in (STRUCTURAL, NOISE, PROPOSAL)) <= one.costs[RULE]
        assert one.costs[SEARCH] <= one.costs[FILE]
    rows = evaluation_rows(found)
    assert [row["family"] for row in rows] == ["fpn", "towers", "all"]
    assert rows[-1]["graphs"] == 4
    assert rows[-1][PROPOSAL] == pytest.approx(gaps(found, PROPOSAL)[0])


def test_noise_is_made_of_topological_orders_and_of_a_seed() -> None:
    example = example_of(label_task(0, 42, mix=("wide",)))
    one, two, other = (noisy_orders(example.view, 5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    edges = example.view.features.edges
    for order in one:
        place = np.argsort(order)
        assert np.all(place[edges[:, 0]] < place[edges[:, 1]])
    assert least_cost(example, one) <= example.rule_cost
