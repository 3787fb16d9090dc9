import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import graphs, make_graph
from test_device_objectives import best_schedules, classifier, devices, hosts, loaded_graphs

from respect_tf.device import DeviceCosts, EdgeTpu
from respect_tf.device._batch_cpu import cpu_stages
from respect_tf.scheduling import Latency, PeakMemory, Throughput, check_schedule, schedule
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._cut_bounds import CutSearch, improve_by_cuts, network_of
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._pairs import list_ideals
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._stage_batch import stage_parts

MIB = 2**20
KINDS = st.sampled_from(["CONV_2D", "CONV_2D", "COS", "ADD"])


def boundaries(problem):
    """What may be before a boundary, all order ideals. bool [num_ideals, num_items]."""
    anywhere = dataclasses.replace(problem, num_stages=1)
    return list_ideals(anywhere, 4000, Budget())


@settings(max_examples=30, deadline=None)
@given(graph=loaded_graphs(), device=devices(), share=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_a_flow_finds_the_boundary_of_the_least_mean(graph, device, share):
    if best_schedules(graph, 3, device, "throughput") is None:
        return
    problem = build_problem(graph, 3, Throughput(device))
    network = network_of(problem)
    nothing = np.zeros(problem.num_items, bool)
    for before, after in ((0, 1), (0, -1)):
        sides = [network.sides(1)[before], network.sides(1)[after]]
        weights = np.array([share, 1 - share])
        every = [float(network.values(sides, row) @ weights) for row in boundaries(problem)]
        limit = max(*every, 1e-3)
        parts = list(zip(sides, weights.tolist(), strict=True))
        least, found = network.least(parts, nothing, nothing, limit)
        assert least <= min(every) + 1e-9 * limit
        if limit < 0.01 * max(map(abs, every)):
            continue  # flows are whole numbers of a part of the limit: beside it they are coarse
        assert min(every) - 1e-4 * limit <= least
        assert network.values(sides, found) @ weights <= least + 1e-4 * limit


@settings(max_examples=40, deadline=None)
@given(
    graph=loaded_graphs(),
    num_stages=st.integers(2, 4),
    device=devices(),
    objective=st.sampled_from([Throughput, Latency]),
    num_flows=st.sampled_from([1, 3, 200]),
)
def test_bounds_by_cuts_are_true(graph, num_stages, device, objective, num_flows):
    name = "throughput" if objective is Throughput else "latency"
    best = best_schedules(graph, num_stages, device, name)
    if best is None:
        return
    problem = build_problem(graph, num_stages, objective(device))
    for limit in (0.7 * best[0], best[0], 2 * best[0]):
        search = CutSearch(network_of(problem), limit, num_flows, Budget())
        search.run()
        assert search.lower <= best[0] * (1 + 1e-9)
        assert not search.is_proved or limit <= best[0] * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(KINDS, min_size=3, max_size=8),
    num_stages=st.integers(2, 3),
    device=devices(),
    cpu_ms=st.sampled_from([0.01, 2.0, 500.0]),
)
def test_bounds_by_cuts_are_true_where_ops_stay_on_the_cpu(kinds, num_stages, device, cpu_ms):
    graph = classifier(kinds)
    device = dataclasses.replace(device, cpu_ms_per_gmac=cpu_ms, cpu_ms_per_mib=cpu_ms)
    best = best_schedules(graph, num_stages, device, "throughput")
    problem = build_problem(graph, num_stages, Throughput(device))
    search = CutSearch(network_of(problem), 3 * best[0], 50, Budget())
    search.run()
    assert search.lower <= best[0] * (1 + 1e-9)
    found = improve_by_cuts(problem, worst_answer(problem), Budget(work=5e6))
    assert found.lower_bound <= best[0] * (1 + 1e-9) <= found.chain.cost * (1 + 2e-9)


def worst_answer(problem):
    """All ops but one per further stage in the first stage."""
    order = np.arange(problem.num_items)
    return answer_of(problem, np.maximum(0, order - len(order) + problem.num_stages))


@settings(max_examples=30, deadline=None)
@given(graph=loaded_graphs(), num_stages=st.integers(2, 4), device=devices())
def test_schedules_and_proofs_by_cuts(graph, num_stages, device):
    best = best_schedules(graph, num_stages, device, "throughput")
    if best is None:
        return
    problem = build_problem(graph, num_stages, Throughput(device))
    found = improve_by_cuts(problem, worst_answer(problem), Budget(work=5e6))
    assert found.lower_bound <= best[0] * (1 + 1e-9)
    assert best[0] <= found.chain.cost * (1 + 2e-9)
    assert found.chain.cost == pytest.approx(answer_of(problem, found.chain.stages).chain.cost)


@settings(max_examples=25, deadline=None)
@given(graph=loaded_graphs(max_ops=5), num_stages=st.integers(2, 3), several=hosts())
def test_bounds_by_cuts_are_true_of_several_hosts(graph, num_stages, several):
    if best_schedules(graph, num_stages, several[0], "throughput") is None:
        return
    exact = schedule(graph, num_stages, "exact", device=several)
    prepared = prepare(Throughput(several), graph, num_stages)
    problem = build_problem(graph, num_stages, prepared.objective)
    search = CutSearch(network_of(problem), 3 * exact.cost, 100, Budget())
    search.run()
    assert search.lower <= exact.cost * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(graph=graphs(max_ops=7), num_stages=st.integers(2, 3), weight=st.sampled_from([0.0, 1.0]))
def test_bounds_by_cuts_are_true_of_bytes(graph, num_stages, weight):
    if best_schedules(graph, num_stages, "usb3-pi5", "throughput") is None:
        return
    exact = schedule(graph, num_stages, "exact", objective=PeakMemory(weight))
    problem = build_problem(graph, num_stages, PeakMemory(weight))
    search = CutSearch(network_of(problem), 2.0 * exact.cost, 100, Budget())
    search.run()
    assert search.lower <= exact.cost * (1 + 1e-9)


def wide_graph(num_cells=6, num_branches=6):
    """Cells that read what the two before them made, in branches that one op brings together."""
    rng = np.random.default_rng(2)
    edges, ends = [], [0, 0]
    for cell in range(num_cells):
        first = 1 + cell * (2 * num_branches + 1)
        last = first + 2 * num_branches
        for branch in range(num_branches):
            op = first + 2 * branch
            edges += [(ends[branch % 2], op), (op, op + 1), (op + 1, last)]
        ends = [ends[1], last]
    num_ops = ends[1] + 1
    edges = sorted(set(edges) | {(ends[0], ends[1])})
    graph = make_graph(
        rng.integers(0, MIB // 8, num_ops).tolist(),
        rng.integers(20_000, 50_000, num_ops).tolist(),
        edges,
    )
    return dataclasses.replace(graph, macs=rng.integers(0, 4 * 10**7, num_ops))


@pytest.mark.parametrize("device", ["usb3-pi5", "usb3"])
def test_graphs_of_too_many_order_ideals_are_proved_where_few_cuts_are_cheap(device):
    graph = wide_graph()
    found = schedule(graph, 2, device=device)
    check_schedule(graph, found)
    assert found.status == "optimal"
    assert schedule(graph, 2, device=device) == found


def test_an_answer_is_never_made_worse_and_budgets_are_kept():
    problem = build_problem(wide_graph(), 4, Throughput("usb3-pi5"))
    answer = worst_answer(problem)
    for work in (0.0, 1e5, 2e6):
        found = improve_by_cuts(problem, answer, Budget(work=work))
        assert found.chain.cost <= answer.chain.cost
        assert answer.lower_bound <= found.lower_bound <= found.chain.cost
    late = improve_by_cuts(problem, answer, Budget(deadline=0.0))
    assert isinstance(late, Answer)
    assert late.chain.cost == answer.chain.cost


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(KINDS, min_size=1, max_size=10),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    tile=st.sampled_from([None, 3000.0]),
)
def test_stages_with_ops_on_the_cpu_cost_in_batches_what_they_cost_alone(kinds, cut, tile):
    graph = classifier(kinds)
    first, last = sorted(min(place, graph.num_ops) for place in cut)
    names = ("usb3-pi5", "usb3-pc")
    costs = [
        DeviceCosts.of(
            graph,
            dataclasses.replace(
                EdgeTpu.preset(name), **({} if tile is None else {"tile_bytes": tile})
            ),
            3,
        )
        for name in names
    ]
    problem = build_problem(graph, 1, Throughput("usb3-pi5"))
    places = np.arange(problem.num_items)
    ops, entering, leaving = stage_parts(problem, places < first, places < last)
    inside = np.isin(np.arange(graph.num_ops), ops)[None]
    total, moved, streamed = cpu_stages(
        costs, inside, np.array([graph.tensor_bytes[entering].sum()], np.float64)
    )
    for index, one in enumerate(costs):
        stage = one.stage(ops, entering, leaving)
        assert total[0, index] == pytest.approx(stage.total_ms)
        assert moved[0] == pytest.approx(stage.moved_bytes)
        assert streamed[0] == pytest.approx(stage.streamed_bytes)


def test_bounds_are_true_where_a_device_was_not_looked_at_in_time():
    graph = make_graph([5, 7, 3], [1, 1, 1], [(0, 1), (1, 2)])
    devices = ["usb3-pi5", "usb3-pc"]
    prepared = prepare(Throughput(devices), graph, 2)
    late = dataclasses.replace(prepared, least=(0.0, prepared.least[1]))
    problem = build_problem(graph, 2, prepared.objective)
    answer = answer_of(problem, np.array([0, 1, 1]))
    assert prepared.reported(answer, problem).lower_bound > 0
    assert late.reported(answer, problem).lower_bound == 0.0
