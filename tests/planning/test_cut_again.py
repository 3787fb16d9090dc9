"""Cutting again for a plan's replicas, within the room that a compiler's log says."""

import functools
import itertools

import numpy as np
import pytest

from respect_tf import ScheduleError, predict
from respect_tf._choosing import checked_choice, choose, choose_again, chosen_again
from respect_tf.device import EdgeTpu, devices_of, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.planning import cut_within
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.scheduling.parts import ReplicatedThroughput

MIB = 1 << 20


def chain(seed):
    """Ten ops in a row: some slow, some heavy."""
    rng = np.random.default_rng(seed)
    return OpGraph.from_arrays(
        rng.integers(0, 2 * MIB, 10),
        rng.integers(1000, 300_000, 10),
        list(itertools.pairwise(range(10))),
        macs=rng.integers(0, 10**9, 10),
    )


def cuts(num_stages):
    for places in itertools.combinations(range(1, 10), num_stages - 1):
        yield np.searchsorted(places, np.arange(10), side="right")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("device", ["usb3-pi5", "pcie-m2", "usb2"])
def test_no_cut_within_the_rooms_is_faster(seed, device):
    graph, resolved, replicas = chain(seed), resolve_device(device), (1, 3, 2)
    total = int(graph.parameter_bytes.sum())
    rooms = (0.5 * total, 0.4 * total, 0.45 * total)
    stages, hosts = np.repeat([0, 1, 2], [3, 3, 4]), devices_of(resolved)
    optima = tuple(float(5 + number) for number in range(len(hosts))) if len(hosts) > 1 else None
    judge = ReplicatedThroughput(resolved, replicas, optima)
    cost = judge.schedule_cost(graph, Schedule(stages))
    planned = Schedule(
        stages, cost=cost, objective=judge.name, lower_bound=0.0, device=resolved, optima=optima
    )
    possible = [
        Schedule(stages)
        for stages in cuts(3)
        if all(graph.parameter_bytes[stages == k].sum() <= rooms[k] for k in range(3))
    ]
    find = functools.partial(cut_within, graph, planned, resolved, replicas=replicas)
    if not possible:
        with pytest.raises(ScheduleError, match="log"):
            find(rooms=rooms)
        return
    found = find(rooms=rooms)
    check_schedule(graph, found, judge)
    assert found.cost == pytest.approx(min(judge.schedule_cost(graph, one) for one in possible))


def test_a_plan_keeps_its_replicas_when_it_is_cut_again():
    graph = OpGraph.from_arrays(
        [10_000] * 4 + [3_000_000] * 4,
        [20_000] * 8,
        list(itertools.pairwise(range(8))),
        macs=[4 * 10**9] * 4 + [10**8] * 4,
    )
    device = EdgeTpu.preset("usb3-pi5")
    choice = checked_choice(
        "policy", "auto", num_devices=4, objective=None, device=device, constraints=None,
        time_limit=None, seed=None, measure=None,
    )  # fmt: skip
    chosen = choose(choice, graph, 4, device, verbose=0)
    last = len(chosen.replicas) - 1
    assert max(chosen.replicas) > 1
    assert last > 0
    held = float(graph.parameter_bytes[chosen.schedule.stages == last].sum())
    rooms = [8.0 * MIB] * last + [held - 1]
    again = choose_again(choice, graph, device, chosen, rooms, verbose=0)
    check_schedule(graph, again)
    assert graph.parameter_bytes[again.stages == last].sum() < held
    better = chosen_again(chosen, again, graph, device)
    assert sum(better.replicas) <= sum(chosen.replicas)
    kept = predict(graph, again, device, replicas=chosen.replicas).interval_ms
    assert predict(graph, again, device, replicas=better.replicas).interval_ms <= kept
    assert again.cost == pytest.approx(kept)
