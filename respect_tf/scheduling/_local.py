"""Improving a schedule by moves across stage borders."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling import _local_moves
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._check import check_schedule, schedule_cost
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._local_state import State, network_of, state_of
from respect_tf.scheduling._objective import Number, Objective, resolve_objective
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._true_costs import true_stage_value

# Moves that plain loops make in about the time that compiled ones take to load, and to compile.
_PLAIN_MOVES, _PLAIN_MOVES_FIRST = 12_000, 150_000
# Seconds that have to be left for that.
_LOADING, _COMPILING = 2.0, 20.0
_MAX_CLOSURE = 32  # items that one move takes along
_LOOK_BACK = 100  # moves
_ROUNDS = 20
_MOVES_PER_ITEM, _MAX_MOVES = 50, 50_000  # in a round
# How much more than the best a stage may cost at the beginning of a round, in turn.
_HEATS = (0.3, 1.0, 3.0)
# Objectives that are no sum are asked for the cost of two stages after each move.
_TRUE_COST_MOVES = 500
_TRUE_COST_LOOK_BACK = 50


def improve(
    graph: OpGraph,
    schedule: Schedule,
    *,
    objective: str | Objective | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    constraints: Constraints | None = None,
) -> Schedule:
    """Make a schedule better by moving and exchanging ops across stage borders.

    A move takes an op one stage on or back, together with what has to go with it, and half the time
    another one in return; late acceptance decides. Nothing is proved about the result: it is the
    given schedule, or one that costs less, or as much with fewer crossing bytes.

    Args:
        graph: The graph.
        schedule: A valid schedule for it.
        objective: What to lower; what the schedule's own cost was computed with if left out.
        time_limit: Seconds to go on for; without one, a fixed amount of work is done, and the
            same seed gives the same schedule.
        seed: 0 or more.
        constraints: What the schedule keeps, and is to keep.

    Returns:
        A schedule of as many stages, with the higher of two lower bounds: the given schedule's, if
        it is for the same objective, and the one that needs no search. `"optimal"` is what reaches
        it. `solve_seconds` counts the given schedule's, too.

    Raises:
        ArgumentError: An argument is out of range, or neither the objective nor the schedule's is
            known.
        ScheduleError: The schedule is not valid for the graph and the constraints, or its lower
            bound is wrong.
    """
    started = time.perf_counter()
    if objective is None:
        objective = schedule.objective if schedule.objective is not None else ""
    prepared = prepare(
        prepared_for(schedule, resolve_objective(objective, schedule.device)),
        graph,
        schedule.num_stages,
        constraints,
    )
    resolved = prepared.objective
    deadline = deadline_after(time_limit, started)
    seed = checked_count("seed", seed, 0)
    check_schedule(graph, Schedule(schedule.stages, schedule.num_stages), None, constraints)
    problem = build_problem(graph, schedule.num_stages, resolved, constraints)
    bound: Number = problem.lower_bound()
    if prepared.doubt < 1:
        bound *= prepared.doubt
    same = (schedule.objective, schedule.device) == (resolved.name, resolved.device)
    if same and schedule.lower_bound is not None:
        bound = max(bound, schedule.lower_bound)
    given = np.zeros(problem.num_items, np.int64)
    given[problem.item_of] = schedule.stages
    stages = problem.stages_of_ops(improve_stages(problem, given, bound, deadline, seed))
    cost = schedule_cost(graph, Schedule(stages, schedule.num_stages), problem.objective)
    result = Schedule(
        stages,
        schedule.num_stages,
        cost=cost,
        lower_bound=_bound_of(problem, schedule, bound, cost),
        status="optimal" if cost <= bound else "feasible",
        objective=resolved.name,
        device=resolved.device,
        optima=resolved.optima if isinstance(resolved, DeviceObjective) else None,
        scheduler=f"{schedule.scheduler}+local",
        solve_seconds=(schedule.solve_seconds or 0.0) + time.perf_counter() - started,
    )
    check_schedule(graph, result, resolved, constraints)
    return result


def _bound_of(problem: Problem, schedule: Schedule, bound: Number, cost: Number) -> Number:
    if bound <= cost:
        return int(bound) if problem.integral else bound
    if bound > cost + problem.slack and bound != problem.lower_bound():
        raise ScheduleError(
            f"A schedule that costs {cost} was found, below the lower bound {schedule.lower_bound} "
            f"that scheduler {schedule.scheduler!r} gave. That bound is wrong, or holds under "
            "constraints only that were not given here. Give them, or report the graph."
        )
    return cost  # sums are rounded to a grid, so a bound can be too high by that much


def improve_stages(
    problem: Problem,
    stages: Ints,
    bound: float,
    deadline: float,
    seed: int,
    num_rounds: int | None = None,
) -> Ints:
    """The best schedule that is found from a given one.

    Args:
        problem: The problem.
        stages: int64 [num_items], a valid schedule.
        bound: A lower bound of the cost; what reaches it is not searched further.
        deadline: Until when to go on, on `time.perf_counter()`'s clock in seconds; infinite for a
            fixed amount of work.
        seed: 0 or more.
        num_rounds: How much work that is, if not the usual amount.

    Returns:
        int64 [num_items].
    """
    rounds = _ROUNDS if num_rounds is None else num_rounds
    if problem.linear.exact:
        num_moves = min(_MAX_MOVES, _MOVES_PER_ITEM * problem.num_items)
        if _is_worth_compiling(rounds * num_moves, deadline):
            _local_moves.compile_moves()
        search_round = _linear_round(problem, stages, num_moves)
    else:
        search_round = _true_cost_round(problem, stages)
    best, number = stages, 0
    while answer_of(problem, best).chain.cost > bound and (
        number < rounds if deadline == math.inf else time.perf_counter() < deadline
    ):
        # Lehmer's numbers of neighbouring seeds run side by side, so rounds are set well apart.
        random = (seed * 69621 + number * 16807 * 7919) % (_local_moves.MODULUS - 1) + 1
        best = search_round(best, random, _HEATS[number % len(_HEATS)])
        number += 1
    return best


_Round = Callable[[Ints, int, float], Ints]


def _is_worth_compiling(num_moves: int, deadline: float) -> bool:
    """Whether plain loops would take longer; the result is the same."""
    if _local_moves.is_compiled():
        return True
    left = deadline - time.perf_counter()
    if left < _LOADING or (num_moves <= _PLAIN_MOVES and left == math.inf):
        return False
    if _local_moves.is_soon_compiled():
        return True
    return left > _COMPILING and (num_moves > _PLAIN_MOVES_FIRST or left < math.inf)


def _linear_round(problem: Problem, start: Ints, num_moves: int) -> _Round:
    """Rounds of moves for costs that are sums."""
    pack = _packing()
    network = pack(network_of(problem))
    scale = _scale(problem, start)
    linear = (float(problem.linear.enter), float(problem.linear.leave), scale)

    def search_round(stages: Ints, random: int, heat: float) -> Ints:
        state = pack(state_of(problem, stages))
        worst = _heated(_local_moves.potential(state, *linear), heat, scale)
        buffers = pack((stages.astype(np.int64), *np.zeros((2, _MAX_CLOSURE), np.int64)))
        (history,) = pack((np.full(_LOOK_BACK, worst),))
        _local_moves.search(network, state, linear, random, num_moves, history, buffers)
        return np.array(buffers[0], np.int64)

    return search_round


def _true_cost_round(problem: Problem, start: Ints) -> _Round:
    """Rounds of moves for other costs: the objective is asked about each stage that changes."""
    pack = _packing()
    network = pack(network_of(problem))
    scale = _scale(problem, start)
    found, others = pack((*np.zeros((2, _MAX_CLOSURE), np.int64),))

    def stage_value(stages: Ints, stage: int) -> tuple[float, float]:
        """Cost and shared load."""
        return true_stage_value(problem, stages < stage, stages <= stage)

    def potential(values: list[tuple[float, float]]) -> float:
        if scale == 0:
            return sum(cost for cost, _ in values)
        load = sum(load for _, load in values)
        return sum((cost / scale) ** 8 for cost in (load, *(cost for cost, _ in values)))

    def quality(state: State, values: list[tuple[float, float]]) -> tuple[float, float]:
        costs, loads = zip(*values, strict=True)
        total = max(*costs, math.fsum(loads)) if scale > 0 else math.fsum(costs)
        return total, float(sum(state.entering) + sum(state.leaving))

    def search_round(stages: Ints, random: int, heat: float) -> Ints:
        state = pack(state_of(problem, stages))
        values = [stage_value(stages, stage) for stage in range(problem.num_stages)]
        best, best_quality = stages, quality(state, values)
        here, now = stages, potential(values)
        history = [_heated(now, heat, scale)] * _TRUE_COST_LOOK_BACK
        for number in range(_TRUE_COST_MOVES):
            random, count, back, step = _local_moves.propose(network, state, random, found, others)
            place = number % _TRUE_COST_LOOK_BACK
            if count > 0:
                moved = np.array(state.stages)
                differ = moved != here
                changed = list(values)
                for stage in np.union1d(here[differ], moved[differ]).tolist():
                    changed[stage] = stage_value(moved, stage)
                after = potential(changed)
                if after <= now or after <= history[place]:
                    here, values, now = moved, changed, after
                    best, best_quality = min(
                        (best, best_quality),
                        (here, quality(state, values)),
                        key=lambda entry: entry[1],
                    )
                else:
                    _local_moves.undo(network, state, (count, back, step), found, others)
            history[place] = min(now, history[place])
        return best

    return search_round


def _scale(problem: Problem, stages: Ints) -> float:
    """What costs are divided by; 0, which stands for sums, where they are added up."""
    if problem.combine == "sum":
        return 0.0
    return answer_of(problem, stages).chain.cost or 1.0


def _heated(potential: float, heat: float, scale: float) -> float:
    """The potential that a round accepts at first: stages dearer by a part of their cost.

    In a sum every stage is as good a place for that as the dearest one: a tenth does.
    """
    return potential * ((1 + heat) ** 8 if scale > 0 else 1 + heat / 10)


def _packing() -> Callable[[Any], Any]:
    """How moves want their arrays: plain loops read lists several times faster."""
    return _as_given if _local_moves.is_compiled() else _as_lists


def _as_lists(values: Any) -> Any:
    """Arrays, in tuples of any depth, to lists."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    parts = [_as_lists(value) for value in values]
    return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)


def _as_given(values: Any) -> Any:
    return values
