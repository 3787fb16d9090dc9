import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from schedule_reference import graphs, make_graph, stage_parts, valid_stages

from respect_tf._errors import ArgumentError
from respect_tf.device import DeviceCosts, EdgeTpu, Hosts, predict, resolve_device
from respect_tf.graph import OpAttributes, OpGraph
from respect_tf.scheduling import (
    Constraints,
    Schedule,
    _device_objective,
    _pair_search,
    check_schedule,
    improve,
    schedule,
    slice_order,
)
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._device_objectives import Latency, Throughput
from respect_tf.scheduling._optima import _slowness, _times_as_long
from respect_tf.scheduling._pairs import find_nodes
from respect_tf.scheduling._problem import build_problem

PRESETS = ("usb3-pi5", "usb2-pi3", "pcie-m2")
OBJECTIVES = ("throughput", "latency")
MIB = 2**20


def predicted(graph, stages, device, objective):
    """The definition."""
    prediction = predict(graph, np.asarray(stages), device)
    return prediction.interval_ms if objective == "throughput" else prediction.latency_ms


def crossing_bytes(graph, stages):
    moved = 0
    for stage in range(max(stages) + 1):
        _, entering, leaving = stage_parts(graph, stages, stage)
        moved += int(graph.tensor_bytes[[*entering, *leaving]].sum())
    return moved


def moved(graph, stages, device):
    """What decides among schedules of equal cost: streamed bytes, then crossing bytes."""
    prediction = predict(graph, np.asarray(stages), device)
    return prediction.streamed_bytes, crossing_bytes(graph, tuple(stages))


def best_schedules(graph, num_stages, device, objective, allowed=lambda stages: True):
    """Least cost, and the least streamed and crossing bytes of the schedules of that cost."""
    found = [
        (predicted(graph, stages, device, objective), moved(graph, stages, device))
        for stages in valid_stages(graph, num_stages)
        if allowed(stages)
    ]
    least = min((cost for cost, _ in found), default=None)
    if least is None:
        return None
    return least, min(bytes_ for cost, bytes_ in found if cost <= least * (1 + 1e-9))


@st.composite
def loaded_graphs(draw, max_ops=6):
    """Graphs whose stages are near the limits of an Edge TPU: some fit, some stream."""
    graph = draw(graphs(max_ops=max_ops, sizes=st.integers(0, 3)))
    unit = draw(st.sampled_from([10_000, MIB, 3 * MIB]))
    size = draw(st.sampled_from([1000, 50_000, 400_000]))
    macs = draw(st.lists(st.integers(0, 4), min_size=graph.num_ops, max_size=graph.num_ops))
    return dataclasses.replace(
        graph,
        parameter_bytes=graph.parameter_bytes * unit,
        tensor_bytes=graph.tensor_bytes * size,
        macs=np.array(macs, np.int64) * draw(st.sampled_from([10**6, 10**9])),
    )


@st.composite
def devices(draw):
    """Presets, and devices whose bus, host or chip is slower or smaller."""
    device = EdgeTpu.preset(draw(st.sampled_from(PRESETS)))
    changes = draw(
        st.sampled_from(
            [{}, {"bus_ms_per_mib": 60.0}, {"stage_ms": 4.0}, {"tile_bytes": 100_000.0}]
        )
    )
    return dataclasses.replace(device, **changes)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=80, deadline=None)
@given(
    graph=loaded_graphs(),
    num_stages=st.integers(1, 4),
    device=devices(),
    # With and without a look at few nodes first, which such graphs do not need.
    few=st.sampled_from([2, 48]),
)
def test_exact_finds_the_best_of_all_schedules(objective, graph, num_stages, device, few):
    expected = best_schedules(graph, num_stages, device, objective)
    if expected is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pair_search, "_FEW", few)
        found = schedule(graph, num_stages, "exact", objective=objective, device=device)
    least, least_moved = expected
    assert found.status == "optimal"
    assert found.gap == 0
    assert found.cost == pytest.approx(least, rel=2e-9)
    assert found.cost == predicted(graph, found.stages, device, objective)
    assert moved(graph, found.stages, device) == least_moved


@settings(max_examples=40, deadline=None)
@given(
    graph=loaded_graphs(max_ops=5),
    num_stages=st.integers(2, 3),
    device=devices(),
    objective=st.sampled_from(OBJECTIVES),
    room=st.integers(1, 12),
)
def test_constraints_are_kept_and_the_rest_is_still_the_best(
    graph, num_stages, device, objective, room
):
    limit = room * MIB
    constraints = Constraints(stage_bytes=limit)

    def allowed(stages):
        sums = np.bincount(stages, graph.parameter_bytes, num_stages)
        return bool((sums <= limit).all())

    expected = best_schedules(graph, num_stages, device, objective, allowed)
    if expected is None:
        return
    found = schedule(
        graph, num_stages, "exact", objective=objective, device=device, constraints=constraints
    )
    assert found.cost == pytest.approx(expected[0], rel=2e-9)
    assert moved(graph, found.stages, device) == expected[1]


@settings(max_examples=40, deadline=None)
@given(
    graph=loaded_graphs(max_ops=6),
    num_stages=st.integers(2, 4),
    device=devices(),
    objective=st.sampled_from(OBJECTIVES),
    data=st.data(),
)
def test_slicing_finds_the_best_cut_of_an_order(graph, num_stages, device, objective, data):
    graph = dataclasses.replace(graph, colocated=np.zeros((0, 2), np.int32))
    if num_stages > graph.num_ops:
        return
    order = graph.topological_order.tolist()
    costs = []
    for cut in itertools.combinations(range(1, len(order)), num_stages - 1):
        stages = np.zeros(len(order), np.int64)
        for place, op in enumerate(order):
            stages[op] = sum(place >= position for position in cut)
        costs.append(predicted(graph, stages, device, objective))
    found = slice_order(graph, order, num_stages, objective, device=device)
    assert found.cost == pytest.approx(min(costs), rel=2e-9)
    assert found.lower_bound <= found.cost


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(graph=loaded_graphs(max_ops=6), device=devices(), objective=st.sampled_from(OBJECTIVES))
def test_other_schedulers_report_the_predicted_cost_and_a_true_bound(graph, device, objective):
    expected = best_schedules(graph, 2, device, objective)
    if expected is None:
        return
    stock = schedule(graph, 2, "compiler", objective=objective, device=device)
    better = improve(graph, stock, time_limit=0.1)
    for found in (stock, better):
        assert found.cost == predicted(graph, found.stages, device, objective)
        assert found.lower_bound <= expected[0] * (1 + 1e-9)
    assert better.cost <= stock.cost * (1 + 1e-12)


@pytest.mark.parametrize("quick", [False, True])
def test_bounds_are_below_the_values_and_equal_where_they_say_so(monkeypatch, quick):
    if not quick:  # bounds do where values take long
        monkeypatch.setattr(_device_objective, "is_quick", lambda *_: False)
    rng = np.random.default_rng(0)
    edges = [(op, op + 1) for op in range(19)]
    graph = make_graph(
        rng.integers(0, 3 * MIB, 20).tolist(), rng.integers(0, 400_000, 20).tolist(), edges
    )
    for objective in (Throughput("usb2-pi3", 3), Latency("pcie-m2", 3)):
        problem = build_problem(graph, 3, objective)
        nodes = find_nodes(problem, Budget())
        pairs = nodes.pairs(np.ones((len(nodes), len(nodes)), bool), Budget())
        batch = nodes.batch(pairs)
        values = objective.batch_values(batch)
        for closely in (False, True):
            *bounds, exact = objective.batch_bounds(batch, closely=closely)
            for bound, value in zip(bounds, values, strict=True):
                assert (bound <= value * (1 + 1e-12)).all()
                assert bound[exact] == pytest.approx(value[exact], rel=1e-12)
        assert exact.any()
        assert exact.all() == quick
        for index in range(0, len(pairs), 7):
            parts = batch.parts(index)
            assert (values[0][index], values[1][index]) == pytest.approx(
                objective.stage_value(graph, *parts)
            )


def test_batches_know_that_large_maps_are_worked_off_in_parts():
    graph = classifier(["CONV_2D"] * 6)
    graph = dataclasses.replace(graph, tensor_bytes=graph.tensor_bytes * 400)  # maps of 6.25 MiB
    # What five MiB of maps leave of each tile holds one of a layer's four blocks of 2304 bytes.
    device = dataclasses.replace(EdgeTpu.preset("pcie-m2"), tile_bytes=5 * 2**16 + 2400.0)
    objective = Throughput(device, 2)
    problem = build_problem(graph, 2, objective)
    nodes = find_nodes(problem, Budget())
    batch = nodes.batch(nodes.pairs(np.ones((len(nodes), len(nodes)), bool), Budget()))
    values = objective.batch_values(batch)
    costs = DeviceCosts.of(graph, device, 2)
    streamed = set()
    for index in range(len(batch)):
        parts = batch.parts(index)
        expected = objective.stage_value(graph, *parts)
        assert (values[0][index], values[1][index]) == pytest.approx(expected)
        streamed.add(bool(costs.stage(*parts).streamed_ops))
    assert streamed == {False, True}


def test_the_bus_decides_where_it_is_the_bottleneck():
    # Each op alone fits; in any two stages some parameters are streamed, over a bus for both.
    graph = make_graph([6 * MIB] * 4, [1000] * 4, [(0, 1), (1, 2), (2, 3)])
    slow_bus = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), bus_ms_per_mib=20.0)
    found = schedule(graph, 2, "exact", device=slow_bus)
    prediction = predict(graph, found.stages, slow_bus)
    slowest = max(stage.cost.total_ms for stage in prediction.stages)
    assert found.cost == prediction.bus_ms > slowest
    assert found.status == "optimal"


def classifier(kinds):
    """A chain of ops on maps of 32x32x16, with parameters in the convolutions."""
    num_ops = len(kinds)
    shape = (1, 32, 32, 16)
    fields = {"strides": (1, 1), "dilation": (1, 1), "padding": "SAME"}
    tensors = [("x", shape, 0)]
    inputs, made = [], []
    for kind in kinds:
        reads = [len(tensors) - 1] if not made else [made[-1]]
        if kind == "CONV_2D":
            tensors.append(("weights", (16, 3, 3, 16), 1))
            reads.append(len(tensors) - 1)
        tensors.append((f"y{len(made)}", shape, 0))
        made.append(len(tensors) - 1)
        inputs.append(reads)
    constant = np.array([bool(flag) for _, _, flag in tensors])
    sizes = np.array([int(np.prod(shape)) for _, shape, _ in tensors], np.int64)
    template = OpGraph.from_arrays([1] * num_ops, [1] * num_ops, [])
    attributes = {
        field.name: field.default
        for field in dataclasses.fields(OpAttributes)
        if field.default is not dataclasses.MISSING
    }
    return dataclasses.replace(
        template,
        op_types=tuple(kinds),
        op_attributes=tuple(OpAttributes(**{**attributes, **fields}) for _ in kinds),
        parameter_bytes=np.array([2304 * (kind == "CONV_2D") for kind in kinds], np.int64),
        macs=np.array([2304 * 1024 * (kind == "CONV_2D") for kind in kinds], np.int64),
        input_offsets=np.cumsum([0, *map(len, inputs)]),
        input_tensors=np.array(list(itertools.chain(*inputs)), np.int32),
        output_offsets=np.arange(num_ops + 1),
        output_tensors=np.array(made, np.int32),
        tensor_names=tuple(name for name, _, _ in tensors),
        tensor_bytes=sizes,
        tensor_shapes=tuple(shape for _, shape, _ in tensors),
        tensor_dtypes=("int8",) * len(tensors),
        tensor_quantization=(None,) * len(tensors),
        is_constant=constant,
        model_inputs=np.array([0], np.int32),
        model_outputs=np.array(made[-1:], np.int32),
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_cut_right_after_an_unsupported_op_brings_the_rest_back_to_a_tpu(objective):
    kinds = ["CONV_2D"] * 4 + ["COS"] + ["CONV_2D"] * 4
    graph = classifier(kinds)
    fast_links = {
        "link_ms_per_mib": 0.1,
        "output_ms_per_request": 1e-5,
        "cpu_ms_per_gmac": 500.0,
    }
    device = dataclasses.replace(EdgeTpu.preset("pcie-m2"), **fast_links)
    # Before or after the op: it is alone on the CPU either way.
    beside = ([0] * 4 + [1] * 5, [0] * 5 + [1] * 4)
    found = schedule(graph, 2, "exact", objective=objective, device=device)
    assert found.stages.tolist() in beside
    assert len(predict(graph, found, device).cpu_ops) == 1
    assert found.cost == predicted(graph, found.stages, device, objective)
    # Where it does not pay, there is none.
    far = dataclasses.replace(device, cpu_ms_per_gmac=0.001, cpu_ms_per_mib=0.001)
    other = schedule(graph, 2, "exact", objective=objective, device=far)
    assert other.stages.tolist() not in beside


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["CONV_2D", "CONV_2D", "COS", "ADD"]), min_size=1, max_size=8),
    num_stages=st.integers(1, 3),
    device=devices(),
    cpu_ms=st.sampled_from([0.01, 2.0, 500.0]),
    objective=st.sampled_from(OBJECTIVES),
    few=st.sampled_from([2, 48]),
)
def test_ops_on_the_cpu_cost_what_the_prediction_says(
    kinds, num_stages, device, cpu_ms, objective, few
):
    graph = classifier(kinds)
    device = dataclasses.replace(device, cpu_ms_per_gmac=cpu_ms, cpu_ms_per_mib=cpu_ms)
    expected = best_schedules(graph, num_stages, device, objective)
    if expected is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pair_search, "_FEW", few)
        found = schedule(graph, num_stages, "exact", objective=objective, device=device)
    assert found.status == "optimal"
    assert found.cost == pytest.approx(expected[0], rel=2e-9)
    assert moved(graph, found.stages, device) == expected[1]


def test_throughput_over_usb_3_is_the_default():
    graph = make_graph([5 * MIB] * 6, [1000] * 6, [(op, op + 1) for op in range(5)])
    found = schedule(graph, 3, "exact")
    assert (found.objective, found.device) == ("throughput", resolve_device("usb3"))
    assert found == schedule(graph, 3, "exact", objective="throughput", device="usb3")
    intervals = [one.interval_ms for one in predict(graph, found, "usb3").by_host.values()]
    ratios = np.array(intervals) / found.optima
    assert found.cost == pytest.approx(ratios.max(), rel=1e-12)
    assert ratios.min() >= 1 - 1e-9
    assert schedule(graph, 3, "exact", objective="memory").device is None


def test_a_schedule_remembers_its_device_for_checks():
    graph = make_graph([5 * MIB] * 4, [100_000] * 4, [(op, op + 1) for op in range(3)])
    own = dataclasses.replace(EdgeTpu.preset("pcie-m2"), name="mine", fixed_ms=3.0)
    found = schedule(graph, 2, "exact", device=own)
    check_schedule(graph, found)
    assert found.device == own
    same = Schedule(
        found.stages, cost=found.cost, objective="throughput", device=EdgeTpu.preset("usb2-pi3")
    )
    with pytest.raises(Exception, match="cost"):
        check_schedule(graph, same)


def test_unknown_devices_are_refused():
    graph = make_graph([1, 1], [1, 1], [(0, 1)])
    for device in ("usb4", "", 3):
        with pytest.raises(ArgumentError, match="device"):
            schedule(graph, 2, "exact", device=device)
    with pytest.raises(ArgumentError, match="throughput"):
        schedule(graph, 2, "exact", objective="speed")


def test_a_time_limit_returns_a_valid_schedule_with_an_honest_bound():
    rng = np.random.default_rng(1)
    edges = [(op, op + 1) for op in range(299)]
    graph = make_graph(
        rng.integers(0, MIB, 300).tolist(), rng.integers(0, 400_000, 300).tolist(), edges
    )
    best = schedule(graph, 4, "exact", device="usb2-pi3")
    hasty = schedule(graph, 4, "exact", device="usb2-pi3", time_limit=0)
    check_schedule(graph, hasty)
    assert hasty.lower_bound <= best.cost <= hasty.cost


def test_wide_graphs_get_a_schedule_and_a_bound():
    rng = np.random.default_rng(2)
    edges = [(lane * 10 + i, lane * 10 + i + 1) for lane in range(6) for i in range(9)]
    graph = make_graph(
        rng.integers(0, MIB, 60).tolist(), rng.integers(0, 100_000, 60).tolist(), edges
    )
    found = schedule(graph, 3, "exact", device="usb2-pi3", time_limit=2)
    check_schedule(graph, found)
    assert 0 < found.lower_bound <= found.cost


def test_results_are_the_same_each_time():
    rng = np.random.default_rng(3)
    edges = [(op, other) for op in range(60) for other in (op + 1, op + 2) if other < 60]
    parts = [rng.integers(0, size, 60).tolist() for size in (MIB, 300_000)]
    graph, again = (make_graph(*parts, edges) for _ in range(2))
    for objective in OBJECTIVES:
        assert schedule(graph, 4, "exact", objective=objective) == schedule(
            again, 4, "exact", objective=objective
        )


@st.composite
def hosts(draw):
    """Two to four devices of one link whose constants are anywhere in their ranges."""
    base = EdgeTpu.preset(draw(st.sampled_from(["usb3-pc", "usb3-pi5", "usb2-jetson"])))
    names = ("fixed_ms", "link_ms_per_mib", "output_ms_per_request", "bus_ms_per_mib", "clock_mhz")
    found = []
    for index in range(draw(st.integers(2, 4))):
        changes = {}
        for name in names:
            low, high = base.range_of(name)
            changes[name] = low + draw(st.sampled_from([0.0, 0.3, 1.0])) * (high - low)
        found.append(dataclasses.replace(base, name=f"host {index}", **changes))
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=40, deadline=None)
@given(graph=loaded_graphs(max_ops=5), num_stages=st.integers(1, 3), devices=hosts())
def test_of_several_hosts_the_worst_regret_is_the_least_of_all_schedules(
    objective, graph, num_stages, devices
):
    every = list(valid_stages(graph, num_stages))
    if not every:
        return
    times = np.array([[predicted(graph, s, one, objective) for one in devices] for s in every])
    optima = times.min(axis=0)
    least = (times / optima).max(axis=1).min()
    found = schedule(graph, num_stages, "exact", objective=objective, device=devices)
    own = [predicted(graph, found.stages, one, objective) for one in devices]
    assert found.cost == pytest.approx((own / optima).max(), rel=1e-8)
    assert found.lower_bound <= least * (1 + 1e-8)
    if objective == "throughput":
        assert found.cost == pytest.approx(least, rel=1e-8)
        assert found.status == "optimal"
    elif found.status == "optimal":
        assert found.cost == pytest.approx(least, rel=1e-8)
    if isinstance(found.device, Hosts):
        assert found.optima == pytest.approx(tuple(optima), rel=1e-8)
        check_schedule(graph, found)


@settings(max_examples=50, deadline=None)
@given(
    objective=st.sampled_from([Throughput, Latency]),
    graph=loaded_graphs(),
    num_stages=st.integers(1, 3),
    several=hosts(),
)
def test_no_host_is_faster_than_its_constants_say(objective, graph, num_stages, several):
    """What is proved on one host bounds what all others take."""
    every = list(valid_stages(graph, num_stages))
    if not every:
        return
    objective = objective(several, num_stages)
    slowness = np.array([_slowness(device, objective) for device in objective.devices])
    times = np.array([objective.times(graph, Schedule(one, num_stages)) for one in every])
    for own, other in itertools.permutations(range(len(objective.devices)), 2):
        least = _times_as_long(slowness[own], slowness[[other]])[0]
        assert (times[:, own] >= least * times[:, other] * (1 - 1e-9)).all()


def test_a_list_of_one_device_is_that_device():
    graph = make_graph([5 * MIB] * 4, [100_000] * 4, [(op, op + 1) for op in range(3)])
    assert schedule(graph, 2, device=["usb3-pc"]) == schedule(graph, 2, device="usb3-pc")


def test_devices_that_cannot_be_compared_are_refused():
    graph = make_graph([1, 1], [1, 1], [(0, 1)])
    for devices, message in (
        (["usb3-pc", "pcie-m2"], "one link"),
        ([], "one at least"),
        (["usb3-pc", "usb4"], "Unknown device"),
        (
            ["usb3-pc", dataclasses.replace(EdgeTpu.preset("usb3-pi4"), tile_bytes=1.0)],
            "same chip",
        ),
    ):
        with pytest.raises(ArgumentError, match=message):
            schedule(graph, 2, device=devices)


def test_schedulers_of_all_kinds_serve_several_hosts():
    graph = make_graph([3 * MIB] * 6, [100_000] * 6, [(op, op + 1) for op in range(5)])
    best = schedule(graph, 3, "exact", device="usb2")
    for scheduler in ("policy", "policy-greedy", "slicing", "compiler"):
        found = schedule(graph, 3, scheduler, device="usb2")
        check_schedule(graph, found)
        assert found.optima == pytest.approx(best.optima)
        assert found.lower_bound <= best.cost <= found.cost * (1 + 1e-9)
        assert improve(graph, found).cost <= found.cost * (1 + 1e-9)


def test_optima_of_ones_own_may_be_above_the_true_ones():
    graph = make_graph([MIB] * 6, [50_000] * 6, [(op, op + 1) for op in range(5)])
    true = schedule(graph, 2, device="usb3")
    generous = Throughput("usb3", optima=tuple(3 * ms for ms in true.optima))
    found = schedule(graph, 2, objective=generous)
    assert found.cost == pytest.approx(true.cost / 3)
    assert found.lower_bound <= found.cost
    worse = schedule(graph, 2, "compiler", objective=generous)
    assert worse.lower_bound <= found.cost * (1 + 1e-9)
