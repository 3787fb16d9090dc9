"""The policy's network, and graphs for it."""

from __future__ import annotations

from typing import Any

import pytest

from respect_tf.scheduling import schedule
from respect_tf.training import Label, LabelTask


@pytest.fixture(scope="session")
def network() -> Any:
    from respect_tf.training._network import NetworkSize, build_network

    return build_network(NetworkSize(units=8, rounds=1))


@pytest.fixture(scope="session")
def labels() -> list[Label]:
    """Graphs that are solved in no time."""
    found = []
    for seed in range(4):
        task = LabelTask("unet", 30, seed, 3, float(seed % 2))
        best = schedule(task.graph(), task.num_stages, "exact", objective=task.objective)
        assert best.status == "optimal"
        found.append(Label(task, best.stages, float(best.cost), float(best.lower_bound)))
    return found
