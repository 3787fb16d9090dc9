"""Ops that stop a file from compiling get stages of their own, which run on the host."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder
from random_models import blocked_models

import respect_tf
from respect_tf import Constraints, OpGraph, Schedule, ScheduleError
from respect_tf.device import HOST_CORES, EdgeTpu, blocking_reason, predict
from respect_tf.graph import sub_graph
from respect_tf.scheduling import check_schedule, stage_costs, with_islands
from respect_tf.scheduling._host_phases import HostSplit


def _chain(kinds: str) -> OpGraph:
    """A chain: c a convolution, r a RELU, g a GELU, q a DEQUANTIZE and a QUANTIZE."""
    builder = ModelBuilder()
    tensor = builder.input("image")
    for kind in kinds:
        if kind == "g":
            made = builder.tensor(f"gelu_{tensor}", (1, 4, 4, 8))
            builder.op("GELU", [tensor], [made])
            tensor = made
        elif kind == "q":
            tensor = builder.quantize(builder.dequantize(tensor))
        else:
            tensor = builder.conv(tensor) if kind == "c" else builder.relu(tensor)
    return OpGraph.from_tflite(builder.build([tensor]))


def _blocked(graph: OpGraph) -> list[int]:
    return [op for op in range(graph.num_ops) if blocking_reason(graph, op) is not None]


def _check(graph: OpGraph, schedule: Schedule, **more) -> None:
    check_schedule(graph, schedule, **more)
    for op in _blocked(graph):
        assert int(schedule.stages[op]) in schedule.cpu_stages


@pytest.mark.parametrize(
    ("kinds", "num_stages", "cpu_stages"),
    [
        ("cccg", 2, (1,)),
        ("cccg", 4, (3,)),
        ("gccc", 3, (0,)),
        ("ccgcc", 3, (1,)),
        ("ccgcc", 5, (2,)),
        ("cgcgc", 5, (1, 3)),
        ("gcg", 3, (0, 2)),
        ("gg", 2, (0, 1)),  # nothing is left for an Edge TPU
        ("ccc", 3, ()),
    ],
)
@pytest.mark.parametrize("objective", ["throughput", "latency", "memory"])
def test_blocking_ops_at_the_start_in_the_middle_and_at_the_end(
    kinds, num_stages, cpu_stages, objective
):
    graph = _chain(kinds)
    schedule = respect_tf.schedule(graph, num_stages, objective=objective)
    _check(graph, schedule)
    assert schedule.cpu_stages == cpu_stages
    assert schedule.num_stages == num_stages


def test_with_few_stages_a_middle_blocker_takes_what_follows_to_the_host():
    schedule = respect_tf.schedule(_chain("ccgc"), 2)
    assert schedule.stages.tolist() == [0, 0, 1, 1]
    assert schedule.cpu_stages == (1,)


def test_without_a_stage_to_spare_blocking_ops_stay_where_they_are():
    for kinds, num_stages in (("ccg", 1), ("gcg", 2)):
        graph = _chain(kinds)
        schedule = respect_tf.schedule(graph, num_stages)
        assert schedule.cpu_stages == ()
        assert any(stage.blockers for stage in predict(graph, schedule).stages)


def test_work_moves_to_the_host_only_where_that_pays():
    # The convolution behind the GELU is nothing, those before it fill three Edge TPUs.
    builder = ModelBuilder()
    tensor = builder.input("image", channels=8)
    tensor = builder.conv(tensor, 1024)
    for _ in range(20):
        tensor = builder.conv(tensor, 1024)
    gelu = builder.tensor("gelu", (1, 4, 4, 1024))
    builder.op("GELU", [tensor], [gelu])
    small = builder.conv(gelu, 8)
    graph = OpGraph.from_tflite(builder.build([small]))
    schedule = respect_tf.schedule(graph, 4, device="usb3-pc")
    assert schedule.cpu_stages == (3,)
    # With the same work behind it, it goes back to an Edge TPU.
    tensor = builder.conv(small, 1024)
    for _ in range(20):
        tensor = builder.conv(tensor, 1024)
    graph = OpGraph.from_tflite(builder.build([tensor]))
    schedule = respect_tf.schedule(graph, 7, device="usb3-pc")
    assert schedule.cpu_stages == (3,)
    assert {int(stage) for stage in schedule.stages[-20:]} == {4, 5, 6}


@pytest.mark.parametrize("scheduler", ["policy", "exact", "slicing", "compiler", "milp", "profile"])
def test_every_scheduler_cuts_around_the_host(scheduler):
    graph = _chain("cccgccc")
    measure = {"measure": lambda ops: float(len(ops))} if scheduler == "profile" else {}
    schedule = respect_tf.schedule(graph, 5, scheduler, **measure)
    _check(graph, schedule)
    assert schedule.scheduler == scheduler
    assert schedule.cpu_stages == (2,)


def test_measured_times_are_asked_for_in_the_model_s_own_numbers():
    asked = set()

    def measure(ops):
        asked.update(ops.tolist())
        return float(len(ops))

    respect_tf.schedule(_chain("cccgccc"), 5, "profile", measure=measure)
    assert asked == {0, 1, 2, 4, 5, 6}


def test_more_stages_on_the_host_than_it_has_cores_gain_nothing():
    graph = _chain("cggggggggc")
    pi = EdgeTpu.preset("usb3-pi5")
    slow = dataclasses.replace(pi, cpu_ms_per_mib=1e6, cpu_ms_per_gmac=1e6, name="slow")
    found = [respect_tf.schedule(graph, count, device=slow) for count in (4, 6, 10)]
    costs = [predict(graph, one, slow).interval_ms for one in found]
    assert costs == pytest.approx([one.cost for one in found])
    host = predict(graph, found[-1], slow).cores_ms * HOST_CORES
    assert [len(one.cpu_stages) for one in found] == [3, 4, 8]
    assert costs[0] > host / 3
    assert costs[1:] == pytest.approx([host / 4] * 2)
    assert [one.gap for one in found[1:]] == pytest.approx([0, 0], abs=1e-9)


def test_the_same_request_gives_the_same_schedule():
    graph = _chain("ccgcccgc")
    first, second = (respect_tf.schedule(graph, 5, seed=3) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("device", ["usb3", ["usb3-pc", "usb3-pi5"]])
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_of_several_hosts_the_cost_is_relative_to_the_best_known_on_each(device, objective):
    graph = _chain("ccgcc")
    schedule = respect_tf.schedule(graph, 4, device=device, objective=objective)
    _check(graph, schedule)
    by_host = predict(graph, schedule, device).by_host.values()
    name = "interval_ms" if objective == "throughput" else "latency_ms"
    ratios = [getattr(one, name) / best for one, best in zip(by_host, schedule.optima, strict=True)]
    assert schedule.cost == pytest.approx(max(ratios))
    assert schedule.cost >= 1


def test_the_user_s_ops_on_the_host():
    graph = _chain("ccqcc")  # conv, conv, dequantize, quantize, conv, conv
    schedule = respect_tf.schedule(graph, 3, constraints=Constraints(on_cpu=[2, 3]))
    check_schedule(graph, schedule, constraints=Constraints(on_cpu=[2, 3]))
    assert schedule.stages.tolist() == [0, 0, 1, 1, 2, 2]
    assert schedule.cpu_stages == (1,)
    plain = respect_tf.schedule(graph, 3)
    with pytest.raises(ScheduleError, match="Expected it in a CPU stage"):
        check_schedule(graph, plain, constraints=Constraints(on_cpu=[2]))
    with pytest.raises(ScheduleError, match="at least 2 stages"):
        respect_tf.schedule(graph, 1, constraints=Constraints(on_cpu=[2]))
    with pytest.raises(respect_tf.ArgumentError, match="on_cpu names the op 9"):
        respect_tf.schedule(graph, 3, constraints=Constraints(on_cpu=[9]))


def test_what_shares_a_stage_with_an_op_on_the_host_is_there_too():
    graph = _chain("ccgcc")
    constraints = Constraints(colocated=[[1, 2]])
    schedule = respect_tf.schedule(graph, 3, constraints=constraints)
    _check(graph, schedule, constraints=constraints)
    assert schedule.stages.tolist() == [0, 1, 1, 2, 2]
    # A DEQUANTIZE behind a GELU stays with it; before one, it may begin the stage.
    graph = _chain("cgqc")
    schedule = respect_tf.schedule(graph, 3)
    assert schedule.stages[1] == schedule.stages[2]


def test_constraints_hold_around_the_host():
    graph = _chain("cccgccc")
    for constraints in (
        Constraints(pinned={0: 0, 1: 1, 6: 4}),
        Constraints(pinned={3: 3}),
        Constraints(uncut_tensors=[int(graph.outputs_of(4)[0])]),
        Constraints(stage_bytes=200),
        Constraints(stage_bytes=[100, 200, 0, 200, 100]),
        Constraints(colocated=[[4, 5]]),
    ):
        schedule = respect_tf.schedule(graph, 5, constraints=constraints)
        _check(graph, schedule, constraints=constraints)
    with pytest.raises(ScheduleError):
        respect_tf.schedule(graph, 5, constraints=Constraints(pinned={0: 1}))
    with pytest.raises(ScheduleError):
        respect_tf.schedule(graph, 3, constraints=Constraints(stage_bytes=10))


def _every_schedule(graph: OpGraph, num_stages: int):
    """All valid schedules with the blocking ops on the host."""
    for stages in itertools.product(range(num_stages), repeat=graph.num_ops):
        if len(set(stages)) < num_stages:
            continue
        if any(stages[u] > stages[v] for u, v in graph.edges.tolist()):
            continue
        needed = {stages[op] for op in _blocked(graph)}
        for size in range(num_stages + 1):
            for cpu_stages in itertools.combinations(range(num_stages), size):
                if needed <= set(cpu_stages):
                    yield Schedule(list(stages), num_stages, cpu_stages=cpu_stages)


@pytest.mark.parametrize("kinds", ["cgc", "ccg", "gcc", "cgcg", "rgrc"])
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_no_schedule_is_below_the_bound(kinds, objective):
    graph = _chain(kinds)
    for num_stages in range(2, graph.num_ops + 1):
        found = respect_tf.schedule(graph, num_stages, objective=objective, device="usb3-pc")
        name = "interval_ms" if objective == "throughput" else "latency_ms"
        least = min(
            getattr(predict(graph, one, "usb3-pc"), name)
            for one in _every_schedule(graph, num_stages)
        )
        assert found.lower_bound <= least * (1 + 1e-9)
        assert found.cost >= least * (1 - 1e-9)


@pytest.mark.parametrize("kinds", ["cgc", "cgcg", "ccgcc", "cccgc"])
def test_memory_has_a_bound_for_what_has_to_be_on_the_host(kinds):
    graph = _chain(kinds)
    for num_stages in range(3, graph.num_ops + 1):
        found = respect_tf.schedule(graph, num_stages, objective="memory")
        blocked = set(_blocked(graph))
        costs = [
            max(stage_costs(graph, one, respect_tf.PeakMemory()))
            for one in _every_schedule(graph, num_stages)
            if {op for op in range(graph.num_ops) if one.stages[op] in one.cpu_stages} == blocked
        ]
        if found.lower_bound is None:
            continue  # more is on the host
        assert found.lower_bound <= min(costs) <= found.cost
        assert found.lower_bound > 0
    assert found.status == "optimal"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_models_with_blocking_ops(data):
    graph = OpGraph.from_tflite(data.draw(blocked_models(max_ops=10)))
    num_stages = data.draw(st.integers(1, 5))
    objective = data.draw(st.sampled_from(["throughput", "latency", "memory"]))
    scheduler = data.draw(st.sampled_from(["policy", "slicing", "compiler"]))
    split = HostSplit.of(graph, _blocked(graph))
    num_items = int(split.item_of.max()) + 1
    if num_stages > num_items:
        with pytest.raises(ScheduleError):
            respect_tf.schedule(graph, num_stages, scheduler, objective=objective)
        return
    schedule = respect_tf.schedule(graph, num_stages, scheduler, objective=objective)
    check_schedule(graph, schedule)
    if _blocked(graph) and num_stages >= split.least_stages:
        _check(graph, schedule)
        assert schedule.cpu_stages
        assert split.is_all or len(schedule.cpu_stages) < num_stages
    else:
        assert schedule.cpu_stages == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_phases_keep_all_edges_and_alternate(data):
    graph = OpGraph.from_tflite(data.draw(blocked_models(max_ops=12)))
    split = HostSplit.of(graph, _blocked(graph))
    for phases in split.layerings:
        turn = np.full(graph.num_ops, -1)
        for number, phase in enumerate(phases):
            assert (turn[phase.ops] == -1).all()
            turn[phase.ops] = number
            assert (split.on_host[phase.ops] == phase.on_host).all()
        assert (turn >= 0).all()
        assert (turn[graph.edges[:, 0]] <= turn[graph.edges[:, 1]]).all()
        kinds = [phase.on_host for phase in phases]
        assert all(a != b for a, b in itertools.pairwise(kinds))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_part_of_a_graph_costs_what_the_stage_costs(data):
    graph = OpGraph.from_tflite(data.draw(blocked_models(max_ops=12)))
    order = graph.topological_order.tolist()
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, graph.num_ops)] * 2)))
    if first == last:
        return
    ops = np.sort(np.array(order[first:last], np.int64))
    stage_of = np.zeros(graph.num_ops, np.int64)
    stage_of[order[first:]] += 1
    stage_of[order[last:]] += 1
    stage = int(stage_of[ops[0]])
    stage_of = np.unique(stage_of, return_inverse=True)[1]
    stage = int(stage_of[ops[0]])
    part = sub_graph(graph, ops)
    whole = predict(graph, stage_of, "usb3-pc").stages[stage].cost
    alone = predict(part, np.zeros(len(ops), np.int64), "usb3-pc").stages[0].cost
    assert alone.input_bytes == whole.input_bytes
    assert alone.output_bytes == whole.output_bytes
    assert alone.streamed_bytes == whole.streamed_bytes
    costs = stage_costs(graph, Schedule(stage_of), respect_tf.PeakMemory(1.0))
    assert (
        costs[stage] == stage_costs(part, Schedule([0] * len(ops)), respect_tf.PeakMemory(1.0))[0]
    )


def _unsupported_tail(num_convs: int) -> OpGraph:
    """Convolutions, then ops that the compiler leaves on the CPU, and that cost something there."""
    builder = ModelBuilder()
    tensor = builder.input("image", channels=64)
    for _ in range(num_convs):
        tensor = builder.conv(tensor, 2048)
    for number in range(2):
        made = builder.tensor(f"square_{number}", (1, 4, 4, 2048))
        builder.op("HARD_SWISH", [tensor], [made])
        tensor = made
    return OpGraph.from_tflite(builder.build([tensor]))


@pytest.mark.parametrize("device", ["usb3-pc", "usb3"])
def test_a_stage_of_which_nothing_is_mapped_is_a_cpu_stage(device):
    graph = _unsupported_tail(2)
    plain = respect_tf.schedule(graph, 4, device=device)
    assert plain.cpu_stages == ()
    schedule = with_islands(graph, plain)
    check_schedule(graph, schedule)
    assert schedule.stages.tolist() == plain.stages.tolist()
    stages = predict(graph, schedule, device).stages
    unmapped = [one.stage for one in stages if len(one.cost.cpu_ops) == len(one.cost.ops)]
    assert schedule.cpu_stages == tuple(unmapped)
    assert unmapped == [2, 3]
    assert schedule.lower_bound <= schedule.cost


def test_where_all_is_mapped_there_is_no_cpu_stage():
    graph = _chain("ccrc")
    for num_stages in range(1, 5):
        schedule = respect_tf.schedule(graph, num_stages)
        assert with_islands(graph, schedule) is schedule
