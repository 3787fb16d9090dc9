import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schedule_reference import (
    Latency,
    Streaming,
    best_stages,
    cost_and_crossing,
    graphs,
    make_graph,
)
from slow_clock import SlowClock

from benchmarks.scheduling import authors_graphs, placement_instances
from respect_tf._errors import ScheduleError, SolverError
from respect_tf.scheduling import PeakMemory, schedule
from respect_tf.scheduling import _exact as exact_module
from respect_tf.scheduling import _milp as milp_module
from respect_tf.scheduling import _proof as proof_module
from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._schedulers import solve_policy
from respect_tf.training import random_graph

# Proved optima of the authors' graphs, peak parameter bytes for 4, 5 and 6 stages.
OPTIMA = {
    "densenet121": (1_769_472, 1_452_928, 1_213_184),
    "densenet169": (3_334_848, 2_549_888, 2_237_504),
    "densenet201": (4_667_136, 3_789_120, 3_121_152),
    "inception_resnet_v2": (13_737_408, 11_063_616, 9_308_352),
    "resnet50": (6_341_504, 5_464_576, 4_469_760),
    "resnet101": (10_949_632, 8_851_584, 7_584_256),
    "resnet101v2": (10_944_512, 8_839_680, 7_580_672),
    "resnet152": (14_844_672, 12_059_136, 10_002_432),
    "resnet152v2": (14_837_760, 12_054_528, 10_000_384),
    "xception": (5_426_296, 4_706_112, 3_773_224),
    "inception_v3": (5_478_912, 4_381_248, 3_698_368),
}
AUTHORS = authors_graphs()
needs_data = pytest.mark.skipif(not AUTHORS, reason="the authors' graphs are not here")


def check_against_enumeration(graph, num_stages, objective):
    expected = best_stages(graph, num_stages, objective) if num_stages <= graph.num_ops else None
    if expected is None:
        with pytest.raises(ScheduleError, match="stages"):
            schedule(graph, num_stages, "exact", objective=objective)
        return
    cost, crossing, _ = expected
    found = schedule(graph, num_stages, "exact", objective=objective)
    assert found.status == "optimal"
    assert found.gap == 0
    assert math.isclose(found.cost, cost, rel_tol=1e-12)
    assert cost_and_crossing(graph, found.stages.tolist(), objective)[1] == crossing


@settings(max_examples=150, deadline=None)
@given(graphs(max_ops=7), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
@example(make_graph([0] * 6, [0] * 6, np.zeros((0, 2), int)), 3, 1.0)
def test_cost_crossing_and_stages_agree_with_enumeration(graph, num_stages, weight):
    check_against_enumeration(graph, num_stages, PeakMemory(weight))


@settings(max_examples=60, deadline=None)
@given(
    graphs(max_ops=6),
    st.integers(1, 4),
    st.sampled_from(
        [
            Latency(),
            Latency(0.5, 0.0),
            Latency(0.0, 3.0, combine="max"),
            Streaming(),
            Streaming(30, combine="sum"),
        ]
    ),
)
def test_any_objective_agrees_with_enumeration(graph, num_stages, objective):
    check_against_enumeration(graph, num_stages, objective)


@settings(max_examples=40, deadline=None)
@given(
    graphs(max_ops=6, colocated=False, sizes=st.floats(0, 1000)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_fractions_agree_with_enumeration_up_to_rounding(graph, num_stages, weight):
    if num_stages > graph.num_ops:
        return
    objective = PeakMemory(weight)
    found = schedule(graph, num_stages, "exact", objective=objective)
    assert found.status == "optimal"
    expected = best_stages(graph, num_stages, objective)[0]
    assert math.isclose(found.cost, expected, rel_tol=1e-9, abs_tol=1e-9)


@needs_data
@pytest.mark.parametrize("name", OPTIMA)
def test_optima_of_the_authors_graphs(name):
    for num_stages, optimum in zip((4, 5, 6), OPTIMA[name], strict=True):
        found = schedule(AUTHORS[name], num_stages, "exact", objective="memory")
        assert (found.cost, found.lower_bound, found.status) == (optimum, optimum, "optimal")
        assert type(found.cost) is int


def towers(num_ops, num_towers, seed):
    """Lanes of ops between joins, in the order of the lanes."""
    rng = np.random.default_rng(seed)
    edges, join, op = [], 0, 1
    while op < num_ops - 1:
        ends = []
        for _ in range(num_towers):
            last = join
            for _ in range(rng.integers(1, 8)):
                if op < num_ops - 1:
                    edges.append((last, op))
                    last, op = op, op + 1
            ends.append(last)
        edges += [(end, op) for end in sorted(set(ends))]
        join, op = op, op + 1
    sizes = rng.integers(0, 100_000, (2, op))
    return make_graph(sizes[0], sizes[1], edges)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_long_narrow_graphs_are_solved_to_proof(weight):
    graph = towers(1000, 4, seed=0)
    found = schedule(graph, 6, "exact", objective=PeakMemory(weight))
    assert found.status == "optimal"
    assert found.cost <= schedule(graph, 6, "slicing", objective=PeakMemory(weight)).cost


def test_more_stages_than_a_byte_can_count():
    graph = make_graph(np.ones(300, int), np.ones(300, int), [(i, i + 1) for i in range(299)])
    assert schedule(graph, 300, "exact", objective="memory").stages.tolist() == list(range(300))
    found = schedule(graph, 290, "exact", objective="memory")
    assert found.cost == 2
    assert np.bincount(found.stages).max() == 2


def wide_graph():
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 1000, (2, 60))
    edges = rng.integers(0, 60, (60, 2))
    return make_graph(sizes[0], sizes[1], edges[edges[:, 0] < edges[:, 1]])


@pytest.mark.parametrize("objective", [PeakMemory(), PeakMemory(1.0), Latency()])
def test_giving_up_returns_a_valid_schedule_and_a_true_bound(objective, monkeypatch):
    graph = wide_graph()
    found = schedule(graph, 4, "exact", objective=objective, time_limit=0)
    assert found.lower_bound <= found.cost
    assert (found.status == "optimal") == (found.lower_bound == found.cost)
    monkeypatch.setattr(proof_module, "MAX_WORK", 75_000_000)
    limited = schedule(graph, 4, "exact", objective=objective)
    assert limited == schedule(graph, 4, "exact", objective=objective)
    assert found.lower_bound <= limited.lower_bound <= limited.cost <= found.cost


@settings(max_examples=60, deadline=None)
@given(graphs(max_ops=7), st.integers(1, 4), st.integers(0, 30_000))
def test_no_budget_leads_to_a_wrong_claim(graph, num_stages, max_work):
    objective = PeakMemory(1.0)
    expected = best_stages(graph, num_stages, objective) if num_stages <= graph.num_ops else None
    if expected is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof_module, "MAX_WORK", max_work)
        found = schedule(graph, num_stages, "exact", objective=objective)
    assert found.lower_bound <= expected[0] <= found.cost
    if found.status == "optimal":
        assert found.cost == expected[0]


def test_time_limit_is_kept(monkeypatch):
    clock = SlowClock(monkeypatch, 0.01)
    schedule(wide_graph(), 6, "exact", objective=PeakMemory(1.0), time_limit=0.3)
    assert clock.readings < 30 + 30  # some before the limit is set and after it has run out


def test_wide_graphs_without_a_time_limit_are_given_up():
    found = schedule(wide_graph(), 6, "exact", objective=PeakMemory(1.0))
    assert found.status == "feasible"


def test_many_heavy_ops_bound_the_cost():
    graph = make_graph([10, 10, 10, 10, 10, 1], [0] * 6, np.zeros((0, 2), int))
    found = schedule(graph, 4, "exact", time_limit=0, objective="memory")
    assert found.lower_bound == 20
    assert found.cost == 20


def lanes(num_ops, num_lanes, seed):
    """Chains side by side; every second op reads from any of them, too."""
    rng = np.random.default_rng(seed)
    edges, last = [], [None] * num_lanes
    for op in range(num_ops):
        lane = op % num_lanes
        sources = {last[lane], last[rng.integers(num_lanes)] if rng.random() < 0.5 else None}
        edges += [(source, op) for source in sources - {None}]
        last[lane] = op
    sizes = rng.integers(0, 100_000, (2, num_ops))
    return make_graph(sizes[0], sizes[1], sorted(edges))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_lanes_with_links_between_them_are_solved_to_proof(weight):
    found = schedule(lanes(1000, 4, seed=0), 8, "exact", objective=PeakMemory(weight))
    assert found.status == "optimal"


def test_ten_thousand_ops_side_by_side_are_solved_to_proof():
    found = schedule(lanes(10_000, 4, seed=0), 8, "exact", objective=PeakMemory(1.0))
    assert found.status == "optimal"


def test_an_integer_program_goes_on_where_the_search_gives_up(monkeypatch):
    monkeypatch.setattr(exact_module, "prove", lambda problem, answer, deadline: answer)
    graph = random_graph("fpn", 100, seed=0)
    asked = []
    search_window = milp_module.search_window
    monkeypatch.setattr(
        milp_module, "search_window", lambda *a, **k: asked.append(a) or search_window(*a, **k)
    )
    monkeypatch.setattr(exact_module, "solve_policy", unproved)
    found = schedule(graph, 4, "exact", objective=PeakMemory(1.0))
    assert (found.cost, found.status, len(asked)) == (4_122_334, "optimal", 1)


def unproved(problem, deadline, seed):
    """A good schedule, and no good bound."""
    best = solve_policy(problem, deadline, seed)
    return Answer(best.chain, problem.lower_bound())


@pytest.mark.parametrize("family", ["wide", "levels", "towers", "randwire", "nasnet"])
@pytest.mark.parametrize("objective", [PeakMemory(1.0), "throughput"])
def test_it_is_never_worse_than_the_policy(family, objective):
    graph = random_graph(family, 90, seed=3)
    best = schedule(graph, 4, "policy", objective=objective, device="usb3-pi5")
    found = schedule(graph, 4, "exact", objective=objective, device="usb3-pi5")
    assert best.lower_bound <= found.lower_bound <= found.cost <= best.cost


def test_a_program_that_contradicts_itself_leaves_what_is_known(monkeypatch):
    def lie(*arguments, **options):
        raise SolverError("HiGHS said two things")

    monkeypatch.setattr(milp_module, "search_window", lie)
    monkeypatch.setattr(proof_module, "MAX_WORK", 3_000_000)
    found = schedule(wide_graph(), 4, "exact", objective=PeakMemory(1.0))
    assert found.status == "feasible"
    assert found.lower_bound < found.cost


def test_compiled_loops_prove_what_has_many_ideals(monkeypatch):
    graph = random_graph("fpn", 100, seed=0)
    monkeypatch.setattr(exact_module, "MAX_OPEN", 0)  # no integer program
    found = schedule(graph, 4, "exact", objective=PeakMemory(1.0))
    assert (found.cost, found.status) == (4_122_334, "optimal")


# Proved maximum loads of the public placement instances, milliseconds.
LOADS = {
    "layer_bert24_inference": 17.78990625,
    "layer_inceptionv3_inference": 52.201631653,
    "layer_resnet50_inference": 34.222851562,
    "operator_bert_l-12_inference, colours": 147.477984463,
    "operator_bert_l-3_inference, colours": 27.91856768,
}


def test_public_placement_instances_are_solved_to_proof(data_folder):
    for name, graph, num_stages in placement_instances():
        if name in LOADS:
            found = schedule(graph, num_stages, "exact", objective=PeakMemory(1.0))
            assert found.status == "optimal"
            assert found.cost == round(LOADS[name] * 1e9)
