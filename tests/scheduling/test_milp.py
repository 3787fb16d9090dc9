import itertools
import json
import math
import re
import time
from pathlib import Path

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
    valid_stages,
)

from benchmarks.scheduling import authors_graphs
from respect_tf._errors import ArgumentError, ScheduleError, SolverError
from respect_tf.scheduling import (
    PeakMemory,
    Schedule,
    _highs,
    check_agreement,
    schedule,
    slice_order,
)
from respect_tf.scheduling import _milp as milp_module
from respect_tf.scheduling._answers import checked_schedule, recount
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._highs import MilpClaim
from respect_tf.scheduling._milp import cost_step
from respect_tf.scheduling._milp_model import build_milp, stage_ranges
from respect_tf.scheduling._problem import build_problem

OBJECTIVES = [
    PeakMemory(),
    PeakMemory(1.0),
    PeakMemory(0.5),
    PeakMemory(0.1),
    PeakMemory(3),
    Latency(),
    Latency(0.5, 0.0),
    Latency(0.0, 3.0, combine="max"),
]


def search_near(graph, start, *, objective="memory", window=1):
    """The answer of a search in a window, and its schedule of ops."""
    resolved = resolve_objective(objective)
    problem = build_problem(graph, start.num_stages, resolved)
    stages = np.zeros(problem.num_items, np.int64)
    stages[problem.item_of] = start.stages
    near = milp_module.search_window(problem, recount(problem, stages), window, math.inf)
    return near, checked_schedule(problem, near, "milp", time.perf_counter())


def layered_graph(num_ops, seed):
    """A wide graph: levels, in-degree up to 4."""
    rng = np.random.default_rng(seed)
    level = np.sort(rng.integers(0, num_ops // 4 + 1, num_ops))
    edges = []
    for op in range(num_ops):
        before = np.flatnonzero(level < level[op])[-10:]
        if len(before):
            count = min(len(before), int(rng.integers(1, 5)))
            edges += [(maker, op) for maker in rng.choice(before, count, replace=False)]
    sizes = rng.integers(1, 100_000, (2, num_ops))
    return make_graph(sizes[0], sizes[1] // 4, edges)


# ---- The optimum -----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(graphs(max_ops=7), st.integers(1, 4), st.sampled_from(OBJECTIVES))
@example(make_graph([0] * 6, [0] * 6, np.zeros((0, 2), int)), 3, PeakMemory(1.0))
def test_cost_agrees_with_enumeration(graph, num_stages, objective):
    expected = best_stages(graph, num_stages, objective) if num_stages <= graph.num_ops else None
    if expected is None:
        with pytest.raises(ScheduleError, match="stages"):
            schedule(graph, num_stages, "milp", objective=objective)
        return
    found = schedule(graph, num_stages, "milp", objective=objective)
    assert found.status == "optimal"
    assert math.isclose(found.cost, expected[0], rel_tol=1e-12)
    assert found.scheduler == "milp"


@settings(max_examples=30, deadline=None)
@given(
    graphs(max_ops=9),
    st.integers(1, 4),
    st.sampled_from([*OBJECTIVES, Latency(1.0, 1.0), PeakMemory(1e-6), PeakMemory(1e6)]),
)
def test_agrees_with_exact(graph, num_stages, objective):
    try:
        exact = schedule(graph, num_stages, "exact", objective=objective)
    except ScheduleError:
        return
    found = schedule(graph, num_stages, "milp", objective=objective)
    check_agreement(graph, exact, found, objective)
    assert math.isclose(found.cost, exact.cost, rel_tol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    graphs(max_ops=6, colocated=False, sizes=st.floats(0, 1000)),
    st.integers(1, 3),
    st.sampled_from([PeakMemory(), PeakMemory(0.1), Latency()]),
)
def test_fractions_are_optimal_up_to_a_stated_gap(graph, num_stages, objective):
    if num_stages > graph.num_ops:
        return
    found = schedule(graph, num_stages, "milp", objective=objective)
    least = best_stages(graph, num_stages, objective)[0]
    assert math.isclose(found.cost, least, rel_tol=1e-8, abs_tol=1e-300)
    assert found.lower_bound <= least * (1 + 1e-12)
    assert found.gap < 1e-6


def test_a_bound_is_not_trusted_to_a_byte_in_a_hundred_million():
    # HiGHS claims the cost 399,999,991 as a bound, in every unit tried.
    parameters = 100_000_000 + np.array([-2, -4, 0, -3, -1, -2, 3, -3, 4, 0])
    edges = [[0, 6], [0, 7], [1, 2], [1, 4], [3, 4], [3, 9], [4, 7], [5, 7], [6, 8], [7, 9]]
    graph = make_graph(parameters, [0] * 10, edges)
    found = schedule(graph, 3, "milp", objective="memory")
    assert found.lower_bound <= 399_999_989 <= found.cost
    assert found.gap < 1e-6
    check_agreement(graph, schedule(graph, 3, objective="memory"), found)


@settings(max_examples=40, deadline=None)
@given(
    graphs(max_ops=6),
    st.integers(1, 4),
    st.sampled_from([Streaming(), Streaming(30, combine="sum"), Streaming(1000)]),
)
def test_a_cost_that_is_not_linear_gets_a_true_bound(graph, num_stages, objective):
    expected = best_stages(graph, num_stages, objective) if num_stages <= graph.num_ops else None
    if expected is None:
        return
    found = schedule(graph, num_stages, "milp", objective=objective)
    stages = found.stages.tolist()
    assert math.isclose(found.cost, cost_and_crossing(graph, stages, objective)[0])
    assert found.lower_bound <= expected[0] * (1 + 1e-12)
    assert expected[0] <= found.cost * (1 + 1e-12)


@pytest.mark.parametrize("objective", [PeakMemory(), PeakMemory(1.0), Latency()])
@pytest.mark.parametrize("seed", range(3))
def test_wide_graphs_agree_with_exact(objective, seed):
    graph = layered_graph(18, seed)
    found = schedule(graph, 4, "milp", objective=objective)
    exact = schedule(graph, 4, "exact", objective=objective)
    assert (found.status, exact.status) == ("optimal", "optimal")
    assert found.cost == exact.cost


AUTHORS = authors_graphs()


@pytest.mark.skipif(not AUTHORS, reason="the authors' graphs are not here")
@pytest.mark.parametrize(
    ("name", "num_stages", "optimum"),
    [
        ("inception_resnet_v2", 6, 9_308_352),  # HiGHS once certified a wrong optimum here
        ("xception", 4, 5_426_296),
        ("resnet50", 5, 5_464_576),
    ],
)
def test_optima_of_the_authors_graphs_are_proved(name, num_stages, optimum):
    found = schedule(AUTHORS[name], num_stages, "milp", objective="memory")
    assert (found.cost, found.lower_bound, found.status) == (optimum, optimum, "optimal")
    assert type(found.cost) is int


@settings(max_examples=40, deadline=None)
@given(graphs(max_ops=6), st.integers(1, 4), st.sampled_from([*OBJECTIVES, Streaming()]))
def test_no_schedule_to_begin_with_is_needed(graph, num_stages, objective):
    expected = best_stages(graph, num_stages, objective) if num_stages <= graph.num_ops else None
    if expected is None:
        return
    problem = build_problem(graph, num_stages, objective)
    answer = milp_module.search_window(problem, None, None, math.inf)
    if problem.linear.exact:
        assert math.isclose(answer.chain.cost, expected[0], rel_tol=1e-12)
        assert answer.lower_bound == answer.chain.cost
    assert answer.lower_bound <= expected[0] * (1 + 1e-12)
    if len(problem.op_costs) > num_stages > 1 and len(problem.edges) == 0:
        with pytest.raises(ScheduleError, match=r"No schedule .* was found"):
            milp_module.search_window(problem, None, None, 0.0)


def test_no_cut_of_the_same_order_crosses_fewer_bytes():
    graph = layered_graph(24, 5)
    found = schedule(graph, 3, "milp", objective="memory")
    order = np.lexsort((np.arange(graph.num_ops), found.stages))
    sliced = slice_order(graph, order, 3, objective="memory")
    crossings = [
        cost_and_crossing(graph, one.stages.tolist(), PeakMemory())[1] for one in (found, sliced)
    ]
    assert found.cost == sliced.cost
    assert crossings[0] <= crossings[1]


def test_same_input_same_schedule():
    graph = layered_graph(20, 1)
    objective = PeakMemory(1.0)
    first = schedule(graph, 4, "milp", objective=objective)
    assert first == schedule(graph, 4, "milp", objective=objective)


# ---- Limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [PeakMemory(), PeakMemory(1.0), Latency()])
def test_giving_up_returns_a_valid_schedule_and_a_true_bound(objective, monkeypatch):
    graph = layered_graph(40, 0)
    at_once = schedule(graph, 4, "milp", objective=objective, time_limit=0)
    monkeypatch.setattr(milp_module, "_MAX_NODES", 1)
    limited = schedule(graph, 4, "milp", objective=objective)
    exact = schedule(graph, 4, "exact", objective=objective)
    assert at_once.lower_bound <= limited.lower_bound <= exact.cost <= limited.cost <= at_once.cost


def test_a_program_that_is_too_large_is_not_built(monkeypatch):
    graph = layered_graph(40, 0)
    monkeypatch.setattr(milp_module, "_MAX_OPEN", 10)
    monkeypatch.setattr(milp_module, "run_highs", None)
    found = schedule(graph, 4, "milp", objective=PeakMemory(1.0))
    assert found.cost == schedule(graph, 4, "slicing", objective=PeakMemory(1.0)).cost
    assert 0 < found.lower_bound < found.cost


def test_a_time_limit_gives_a_schedule_and_a_bound():
    graph = layered_graph(150, 0)
    found = schedule(graph, 6, "milp", objective=PeakMemory(1.0), time_limit=1)
    assert found.lower_bound <= found.cost


def test_highs_begins_with_the_schedule_that_is_known(monkeypatch):
    # Without nodes and heuristics it finds nothing itself.
    monkeypatch.setitem(_highs._OPTIONS, "mip_heuristic_effort", 0.0)
    problem = build_problem(layered_graph(40, 0), 4, PeakMemory(1.0))
    known = schedule(problem.graph, 4, "slicing", objective=problem.objective)
    start = np.zeros(problem.num_items, np.int64)
    start[problem.item_of] = known.stages
    unit = known.cost / 1e4
    model = build_milp(problem, stage_ranges(problem, known.cost), unit, math.inf)
    limits = {"presolve": True, "deadline": math.inf, "max_nodes": 0}
    claim = _highs.run_highs(model, start, **limits)
    assert np.array_equal(claim.stages, start)
    assert (claim.finished, claim.cost) == (False, claim.start_cost)
    assert math.isclose(claim.start_cost, 1e4, rel_tol=1e-9)
    assert _highs.run_highs(model, None, **limits).stages is None


def test_highs_gives_no_fractions():
    problem = build_problem(layered_graph(40, 0), 4, PeakMemory())
    model = build_milp(problem, stage_ranges(problem, math.inf), 1.0, math.inf)
    with pytest.raises(SolverError, match="fraction"):
        model.stages(np.full(model.by_open.shape[1], 0.5))


# ---- What HiGHS says is checked --------------------------------------------------------------


def lying(monkeypatch, *lies):
    """Let HiGHS's first answers be changed; later ones are left as they are."""
    runs = []

    def run(model, start, **options):
        runs.append(options["presolve"])
        claim = honest(model, start, **options)
        return lies[len(runs) - 1](claim, start) if len(runs) <= len(lies) else claim

    honest = milp_module.run_highs
    monkeypatch.setattr(milp_module, "run_highs", run)
    return runs


def lie_of_a_high_bound(claim, start):
    return MilpClaim(True, claim.start_cost, claim.stages, claim.cost, claim.cost * 1.001)


def lie_that_the_start_is_optimal(claim, start):
    return MilpClaim(True, claim.start_cost, start, claim.start_cost, claim.start_cost)


def lie_about_the_cost(claim, start):
    return MilpClaim(True, claim.start_cost, claim.stages, claim.cost * 0.99, claim.cost * 0.99)


def lie_about_the_start(claim, start):
    return MilpClaim(True, claim.start_cost / 2, claim.stages, claim.cost, claim.lower_bound)


def lie_of_a_broken_edge(claim, start):
    stages = start[::-1].copy()
    return MilpClaim(True, claim.start_cost, stages, claim.cost, claim.lower_bound)


def lie_of_an_empty_stage(claim, start):
    return MilpClaim(True, claim.start_cost, start * 0, claim.cost, claim.lower_bound)


def lie_without_a_schedule(claim, start):
    return MilpClaim(True, claim.start_cost, None, claim.cost, claim.lower_bound)


def failure(claim, start):
    raise SolverError("HiGHS failed: test.")


DETECTABLE = [
    lie_of_a_high_bound,
    lie_about_the_cost,
    lie_about_the_start,
    lie_of_a_broken_edge,
    lie_of_an_empty_stage,
    lie_without_a_schedule,
    failure,
]
HARD = layered_graph(20, 3)


@pytest.mark.parametrize("lie", DETECTABLE)
def test_a_wrong_claim_leads_to_a_second_attempt_without_presolve(lie, monkeypatch):
    expected = schedule(HARD, 3, "exact", objective="memory")
    runs = lying(monkeypatch, lie)
    found = schedule(HARD, 3, "milp", objective="memory")
    assert runs == [True, False]
    assert (found.cost, found.status) == (expected.cost, "optimal")


@pytest.mark.parametrize("lie", DETECTABLE)
def test_two_wrong_claims_are_an_error_with_the_evidence_saved(lie, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lying(monkeypatch, lie, lie)
    with pytest.raises(SolverError, match="HiGHS") as raised:
        schedule(HARD, 3, "milp", objective="memory")
    path = Path(re.search(r"'([^']+\.json)'", str(raised.value))[1])
    assert path.parent == tmp_path
    content = json.loads(path.read_text())
    known, first, second = content["schedules"]
    assert len(known["stages"]) == HARD.num_ops
    assert (first["presolve"], second["presolve"]) == (True, False)
    assert first["refuted"]
    assert content["graph"]["parameter_bytes"] == HARD.parameter_bytes.tolist()


def lie_of_a_bad_optimum(claim, start):
    bad = schedule(HARD, 3, "slicing", objective="memory")
    stages = bad.stages[np.argsort(build_problem(HARD, 3, PeakMemory()).item_of)]
    cost = claim.start_cost * bad.cost / schedule(HARD, 3, objective="memory").cost
    return MilpClaim(True, claim.start_cost, stages, cost, cost)


def test_a_known_schedule_that_beats_the_claimed_optimum_refutes_it(monkeypatch):
    best = schedule(HARD, 3, "exact", objective="memory")
    assert best.cost < schedule(HARD, 3, "slicing", objective="memory").cost
    runs = lying(monkeypatch, lie_of_a_bad_optimum)
    _, found = search_near(HARD, best, window=None)
    assert runs == [True, False]
    assert (found.cost, found.status) == (best.cost, "optimal")


def test_a_false_optimum_that_slicing_beats_is_refuted(monkeypatch):
    # HiGHS returns a bad schedule and calls it the best; a cut of its own order costs less.
    graph = make_graph([1] * 9, [0] * 9, [(i, i + 1) for i in range(8)])
    bad = Schedule([0] * 7 + [1, 2])
    runs = lying(monkeypatch, lie_that_the_start_is_optimal)
    _, found = search_near(graph, bad, window=None)
    assert runs == [True, False]
    assert (found.cost, found.status) == (3, "optimal")


def test_contradicting_schedules_are_an_error_that_names_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chain = make_graph([4, 1, 1, 4], [1] * 4, [(0, 1), (1, 2), (2, 3)])
    good = schedule(chain, 2, "exact", objective="memory")
    bad = Schedule(
        [0, 1, 1, 1],
        cost=6,
        lower_bound=6,
        status="optimal",
        objective="memory",
        scheduler="bad",
    )
    check_agreement(chain, good, good)
    for pair in itertools.permutations((good, bad)):
        with pytest.raises(
            SolverError, match=r"'exact' found .* cost 5 .*'bad' says .* 6"
        ) as error:
            check_agreement(chain, *pair)
        path = Path(re.search(r"'([^']+\.json)'", str(error.value))[1])
        saved = json.loads(path.read_text())["schedules"]
        assert {tuple(one["stages"]) for one in saved} == {(0, 0, 1, 1), (0, 1, 1, 1)}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(SolverError, match="could not be saved"):
        check_agreement(chain, good, bad)


def test_schedules_that_cannot_be_compared_are_refused():
    chain = make_graph([4, 1, 1, 4], [1] * 4, [(0, 1), (1, 2), (2, 3)])
    two = schedule(chain, 2, objective="memory")
    with pytest.raises(ArgumentError, match="num_stages"):
        check_agreement(chain, two, schedule(chain, 3, objective="memory"))
    with pytest.raises(ArgumentError, match="objective"):
        check_agreement(chain, two, schedule(chain, 2, objective=PeakMemory(1)))
    with pytest.raises(ArgumentError, match="without a cost"):
        check_agreement(chain, Schedule([0, 1, 1, 1]), Schedule([0, 0, 1, 1]))


# ---- Parts -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(graphs(max_ops=6), st.integers(1, 4), st.sampled_from(OBJECTIVES))
def test_ranges_hold_every_schedule_within_the_limit(graph, num_stages, objective):
    known = [
        (cost_and_crossing(graph, stages, objective)[0], stages)
        for stages in valid_stages(graph, num_stages)
    ]
    if not known:
        return
    problem = build_problem(graph, num_stages, objective)
    for limit in {cost for cost, _ in known}:
        ranges = stage_ranges(problem, limit)
        first, last = ranges.first[problem.item_of], ranges.last[problem.item_of]
        for cost, stages in known:
            if cost <= limit:
                assert np.all((first <= stages) & (stages <= last))


@pytest.mark.parametrize(
    ("parameters", "objective", "step"),
    [
        ([64, 96], PeakMemory(), 32),
        ([64, 96], PeakMemory(1), 4),
        ([64, 96], PeakMemory(0.5), 2),
        ([64, 96], PeakMemory(0.1), 0.4),
        ([0.25, 1.0], PeakMemory(), 0.25),
        ([math.pi, 1.0], PeakMemory(), 0),
        ([0, 0], PeakMemory(), 0),
    ],
)
def test_the_step_between_costs(parameters, objective, step):
    graph = make_graph(parameters, [4, 8], [(0, 1)])
    assert cost_step(build_problem(graph, 2, objective)) == pytest.approx(step, rel=1e-12)


# ---- Windows ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    graphs(max_ops=6),
    st.integers(1, 4),
    st.sampled_from(OBJECTIVES),
    st.sampled_from([0, 1, 2, 7, None]),
    st.randoms(use_true_random=False),
)
def test_windows_agree_with_enumeration(graph, num_stages, objective, window, random):
    known = list(valid_stages(graph, num_stages))
    if not known:
        return
    start = random.choice(known)
    reach = num_stages if window is None else window
    least = min(
        cost_and_crossing(graph, stages, objective)[0]
        for stages in known
        if all(abs(a - b) <= reach for a, b in zip(stages, start, strict=True))
    )
    _, found = search_near(graph, Schedule(start), objective=objective, window=window)
    optimum = best_stages(graph, num_stages, objective)[0]
    # Slicing at the end may leave the window, towards less cost only.
    assert optimum * (1 - 1e-12) <= found.cost <= least * (1 + 1e-12)
    assert found.lower_bound <= optimum * (1 + 1e-12)
    if reach >= num_stages - 1:
        assert found.status == "optimal"


def test_a_window_is_not_mistaken_for_everything():
    # From [0, 0, 0, 1, 2], the best schedule is two stages away for the third op.
    graph = make_graph([3, 0, 3, 3, 0], [0] * 5, np.zeros((0, 2), int))
    start = Schedule([0, 0, 0, 1, 2])
    _, still = search_near(graph, start, window=0)
    assert still.cost == 6
    assert (still.status, still.lower_bound) == ("feasible", 3)
    _, everywhere = search_near(graph, start, window=None)
    assert (everywhere.cost, everywhere.status) == (3, "optimal")


def test_a_window_never_makes_it_worse():
    graph = layered_graph(60, 2)
    objective = PeakMemory(1.0)
    start = schedule(graph, 4, "slicing", objective=objective)
    _, found = search_near(graph, start, objective=objective)
    assert found.lower_bound <= found.cost <= start.cost
