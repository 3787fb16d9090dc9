"""How good the shipped weights are, on graphs that training did not see."""

from __future__ import annotations

import pytest
from slow_clock import SlowClock

from respect_tf.training import evaluate, evaluation_rows, label_task
from respect_tf.training._evaluate import (
    FILE,
    GREEDY,
    SEARCH,
    STRUCTURAL,
    best_single_order,
    gaps,
    ratio_to_file,
)
from respect_tf.training._labels import STRUCTURED


def test_greedy_orders_beat_every_single_structural_order() -> None:
    for mix in (("levels", "wide"), STRUCTURED):
        found = evaluate([label_task(index, 40, num_ops=(50, 90), mix=mix) for index in range(30)])
        single = best_single_order(found)
        assert ratio_to_file(found, GREEDY) < min(ratio_to_file(found, single), 0.985)
        assert gaps(found, GREEDY)[0] < 2 / 3 * gaps(found, FILE)[0]


def test_search_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [label_task(index, 41, num_ops=(30, 30), mix=("towers", "fpn")) for index in range(4)]
    SlowClock(monkeypatch, 0.002)
    found = evaluate(tasks, search_seconds=0.2, num_samples=2)
    for one in found:
        assert one.reference == min(one.costs.values())
        assert one.costs[STRUCTURAL] <= one.costs[FILE]
        assert one.costs[SEARCH] <= one.costs[FILE]
    rows = evaluation_rows(found)
    assert [row["family"] for row in rows] == ["fpn", "towers", "all"]
    assert rows[-1]["graphs"] == 4
    assert rows[-1][GREEDY] == pytest.approx(ratio_to_file(found, GREEDY))
