"""Making labels: solving their tasks, in this process, in several, or on a cluster, into files."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from respect_tf._beam import FAILED, Done, Item, Job, as_json, map_items
from respect_tf._errors import (
    ArgumentError,
    DependencyError,
    RespectError,
    SolverError,
    TrainingError,
)
from respect_tf._places import Place, place_of
from respect_tf._reporting import Verbosity
from respect_tf.graph import Ints, load_tfgnn
from respect_tf.scheduling import (
    MilpClaim,
    Schedule,
    check_agreement,
    claim_of,
    highs_options,
    schedule,
    schedule_by_program,
    search,
)
from respect_tf.training._label_files import load_labels, save_labels, write_records
from respect_tf.training._labels import MIX, Label, LabelTask, label_task

# Labels in a file, exact ones and others: what is lost when a run is stopped.
_EXACT_SHARD, _SHARD = 50, 500
_CROSS_CHECK = 25  # one label in so many is solved by both exact methods
# Moves per op for labels that need no proof: on graphs of 30-120 ops a median of 0 % and a mean of
# 0.03 % above ten times as many.
# benchmarks constants: half 0.86 times the time; twice -0.02 % cost.
_FEW_MOVES = 60
# Nodes of HiGHS's search tree: work, not time, so that every machine gives the same label. Of the
# first 500 tasks four are left to it, which take 4 to 16 s; with half or twice as many nodes none
# of them is proved either.
_MILP_NODES = 500


@dataclasses.dataclass(frozen=True)
class LabelRun:
    """What a run of `run_labels` has left.

    Attributes:
        folder: Where the files are.
        labels: Names of the files of labels, in order.
        records: Names of those of records.
        failures: Why a task has no label, by its number in the sequence.
        num_kept: How many parts of the sequence were there already.
    """

    folder: str
    labels: tuple[str, ...]
    records: tuple[str, ...]
    failures: dict[int, str]
    num_kept: int


def run_labels(
    folder: str,
    num_labels: int,
    *,
    seed: int = 0,
    num_ops: tuple[int, int] = (30, 50),
    mix: Sequence[str] = MIX,
    exact: bool = True,
    records: bool = True,
    time_limit: float | None = None,
    beam_options: Sequence[str] = (),
    num_processes: int = 1,
    verbose: Verbosity = "auto",
) -> LabelRun:
    """Solve the first tasks of a sequence, wherever Beam can work. Each file is written in one go.

    The files depend on the sequence alone, not on who makes them: a run that was killed goes on
    wherever it is started again, and ends in the same bytes.

    Args:
        folder: Where to put the files, `labels-SEED-NNNNN.npz`: see `map_items`.
        num_labels: How many; a multiple of those in a file, 50 exact ones or 500, is made.
        seed: Which sequence: 0 for training, 1 for validation, 2 for training without proofs.
        num_ops: Fewest and most ops.
        mix: Families to draw from, with their frequencies.
        exact: Whether labels have to be optimal, as far as three exact methods can tell; else a
            short search has to do, which takes some hundredths of a second.
        records: Whether to write TFRecords of GraphTensors beside them; see `write_records`.
        time_limit: Seconds for a graph; those without a proof by then have no label, and the file
            `failed/labels-SEED-NNNNN.json` says why. To try again, remove the file of labels.
        beam_options: See `map_items`.
        num_processes: Likewise.
        verbose: 0 for silence.

    Raises:
        ArgumentError: An argument is out of range.
        DependencyError: cvxpy is not installed, and labels are to be exact; TF-GNN is not, and
            records are asked for; Beam is not, and is needed.
    """
    if num_labels < 1:
        raise ArgumentError(f"num_labels must be 1 or more. Received: {num_labels}.")
    if time_limit is not None and not time_limit > 0:
        raise ArgumentError(f"time_limit must be above 0 seconds. Received: {time_limit}.")
    # What is missing is missing before the long part, too.
    if exact:
        load_cvxpy()
    if records:
        load_tfgnn()
    size = _EXACT_SHARD if exact else _SHARD
    jobs = []
    for shard in range(math.ceil(num_labels / size)):
        name = f"labels-{seed}-{shard:05d}"
        item = {
            "name": name,
            "numbers": [shard * size, (shard + 1) * size],
            "seed": seed,
            "num_ops": list(num_ops),
            "mix": list(mix),
            "exact": exact,
            "check_every": _CROSS_CHECK,
            "records": records,
            "time_limit": time_limit,
        }
        jobs.append(Job(name, _outputs(item), item))
    found = map_items(
        label_shard,
        jobs,
        folder,
        beam_options=beam_options,
        num_processes=num_processes,
        verbose=verbose,
    )
    place, made = place_of(folder), []
    failed, failures = place.names(FAILED), {}
    for shard, job in enumerate(jobs):
        if shard in found.failures:
            failures.update(dict.fromkeys(range(*job.item["numbers"]), found.failures[shard]))
            continue
        made.append(job.outputs)
        if _failed(job.name) in failed:
            reasons = json.loads(place.read(_failed(job.name)))["left_out"]
            failures.update({int(number): reason for number, reason in reasons.items()})
    return LabelRun(
        folder,
        tuple(names[0] for names in made),
        tuple(names[1] for names in made if records),
        failures,
        found.num_kept,
    )


def _outputs(item: Item) -> tuple[str, ...]:
    endings = ("npz", "tfrecord.gz") if item["records"] else ("npz",)
    return tuple(f"{item['name']}.{ending}" for ending in endings)


def _failed(name: str) -> str:
    return f"{FAILED}/{name}.json"


def label_shard(item: Item, place: Place) -> Done:
    """The files of a part of a sequence, as `map_items` asks for them."""
    name = item["name"]
    labels_file, *records_file = _outputs(item)
    files: dict[str, bytes] = {}
    counts = {"labels": 0, "left_out": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / labels_file
        if labels_file in place.names():  # of an earlier run, without records
            path.write_bytes(place.read(labels_file))
            labels = load_labels(path)
            if _failed(name) in place.names(FAILED):
                files[_failed(name)] = place.read(_failed(name))
        else:
            labels, left_out = _solve(item)
            save_labels(path, labels)
            counts = {"labels": len(labels), "left_out": len(left_out)}
            files[labels_file] = path.read_bytes()
            if left_out:
                files[_failed(name)] = as_json({"item": item, "left_out": left_out})
        for record in records_file:
            write_records(Path(folder) / record, labels)
            files[record] = (Path(folder) / record).read_bytes()
    return Done(files, counts)


def _solve(item: Item) -> tuple[list[Label], dict[int, str]]:
    """The labels of a part, and why the rest has none."""
    labels, left_out = [], {}
    for number in range(*item["numbers"]):
        task = label_task(number, item["seed"], num_ops=item["num_ops"], mix=item["mix"])
        options = {
            "cross_check": number % item["check_every"] == 0,
            "time_limit": item["time_limit"],
        }
        try:
            labels.append(solve_task(task, **options) if item["exact"] else search_task(task))
        except RespectError as error:
            left_out[number] = f"{type(error).__name__}: {error}"
    if not labels:
        first = next(iter(left_out.values()))
        raise TrainingError(f"None of {len(left_out)} tasks has a label. The first: {first}")
    return labels, left_out


def solve_task(
    task: LabelTask, *, cross_check: bool = False, time_limit: float | None = None
) -> Label:
    """Find the optimum: by search where that proves it, else by the DP over ideals or the MILP.

    Each does a fixed amount of work: the label is the same on every machine, and under any load.

    Args:
        task: The task.
        cross_check: Solve by the DP and by the MILP, and compare what they say.
        time_limit: Seconds after which no further method is begun; `None` for no limit.

    Raises:
        SolverError: The methods contradict each other.
        DependencyError: cvxpy is not installed, and the MILP is needed.
        TrainingError: The time has passed before the optimum is proved.
    """
    graph, num_stages, objective = task.graph(), task.num_stages, task.objective
    started = time.monotonic()
    best = search(graph, num_stages, objective=objective)
    methods: tuple[Callable[[], Schedule], ...] = (
        lambda: schedule(graph, num_stages, "exact", objective=objective, verbose=0),
        lambda: schedule_by_program(graph, num_stages, objective, run=run_cvxpy),
    )
    for method in methods:
        if not cross_check and best.status == "optimal":
            break
        if time_limit is not None and time.monotonic() - started > time_limit:
            raise TrainingError(
                f"Task {task.number} ({task.family}, {task.num_ops} ops, {num_stages} stages) has "
                f"no proved optimum after {time_limit:g} s. Give it more time, or leave it out."
            )
        found = method()
        check_agreement(graph, best, found, objective)
        low = max(best.lower_bound or 0, found.lower_bound or 0)
        best = min((best, found), key=lambda one: (one.cost, -(one.lower_bound or 0)))
        best = best.with_bound(low)
    return _label_of(task, best)


def search_task(task: LabelTask) -> Label:
    """Find a schedule by a short search: cheap, and hardly ever above the optimum."""
    found = search(task.graph(), task.num_stages, objective=task.objective, budget=_FEW_MOVES)
    return _label_of(task, found)


def _label_of(task: LabelTask, best: Schedule) -> Label:
    if best.cost is None or best.lower_bound is None:
        raise ArgumentError("A label needs a schedule whose cost and lower bound are known.")
    return Label(task, best.stages, float(best.cost), float(best.lower_bound))


def load_cvxpy() -> Any:
    """Import cvxpy.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        import cvxpy
    except ImportError as error:
        raise DependencyError(
            f"Labels are solved with cvxpy, which cannot be imported ({error}). Expected the "
            "package cvxpy with what it depends on: pip install 'respect-tf[train]'."
        ) from error
    return cvxpy


def run_cvxpy(
    model: Any, start: Ints | None, *, presolve: bool, deadline: float, max_nodes: int
) -> MilpClaim:
    """Solve an integer program through cvxpy and its interface to HiGHS, as `run_highs` does.

    There is no deadline. cvxpy does not hand on the schedule that is known; what costs more is
    left out of the model already.

    Raises:
        DependencyError: cvxpy is not installed.
        SolverError: HiGHS failed.
    """
    del start, deadline
    cp = load_cvxpy()
    done = cp.Variable(model.by_open.shape[1], boolean=True)
    rest = cp.Variable(model.by_rest.shape[1], nonneg=True)
    rows = model.by_open @ done + model.by_rest @ rest >= model.right
    program = cp.Problem(cp.Minimize(rest[-1]), [rows])
    options = highs_options(presolve=presolve, max_nodes=min(max_nodes, _MILP_NODES))
    try:
        with warnings.catch_warnings():
            # cvxpy warns where a limit ended the search; the status says so as well.
            warnings.simplefilter("ignore", UserWarning)
            program.solve(solver=cp.HIGHS, **options)
    except cp.error.SolverError as error:
        raise SolverError(f"HiGHS failed: {error}") from error
    if program.status == cp.INFEASIBLE:
        return MilpClaim(True, None, None, math.inf, math.inf)
    if program.status not in (cp.OPTIMAL, cp.USER_LIMIT):
        raise SolverError(f"HiGHS ended with the status {program.status!r}.")
    info = program.solver_stats.extra_stats
    return claim_of(model, info, done.value, None, finished=program.status == cp.OPTIMAL)
