"""Labels through cvxpy: the same optima as HiGHS alone, and a clear word where it is missing."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from respect_tf._errors import DependencyError, ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling import PeakMemory
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._milp import search_window, solve_milp
from respect_tf.scheduling._problem import build_problem
from respect_tf.training import random_graph, run_labels
from respect_tf.training._label_shards import run_cvxpy


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_cvxpy_proves_what_highs_alone_proves(weight: float) -> None:
    graph = random_graph("levels", 30, 5)
    problem = build_problem(graph, 4, PeakMemory(weight))
    alone, through = (solve_milp(problem, math.inf, run=run) for run in (None, run_cvxpy))
    assert through.chain.cost == alone.chain.cost
    assert through.lower_bound == through.chain.cost


def test_limits_end_the_search_with_a_true_bound() -> None:
    graph = random_graph("wide", 40, 3)
    problem = build_problem(graph, 4, PeakMemory(1.0))
    best = solve_milp(problem, math.inf).chain.cost
    late = solve_milp(problem, 0.0)
    few = search_window(problem, late.chain, None, math.inf, max_nodes=1, run=run_cvxpy)
    assert late.lower_bound <= few.lower_bound <= best <= few.chain.cost <= late.chain.cost


def test_no_schedule_is_said_to_be_none() -> None:
    graph = OpGraph.from_arrays([3, 3, 3], [1, 1, 1], [[0, 1], [0, 2]])
    problem = build_problem(graph, 2, PeakMemory(), Constraints(stage_bytes=5))
    with pytest.raises(ScheduleError, match="keeps the constraints, by the word of HiGHS"):
        solve_milp(problem, math.inf, run=run_cvxpy)


def test_labels_without_cvxpy_say_which_extra_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(DependencyError, match=r"pip install 'respect-tf\[train\]'"):
        run_labels(str(tmp_path), 1, records=False, verbose=0)
    assert not list(tmp_path.iterdir())
