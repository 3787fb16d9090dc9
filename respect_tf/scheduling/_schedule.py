"""`Schedule`: which stage each op runs in, and what is known about the result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.device import EdgeTpu, Hosts

IntArray = npt.NDArray[np.int32]
Status = Literal["optimal", "optimal within 1e-6", "feasible"]

# How near the cost a bound of a solver with tolerances is as good as a proof: it is what HiGHS
# takes for equal.
_TOLERANCE = 1e-6


def status_of(cost: int | float, lower_bound: int | float | None) -> Status:
    """What a bound proves of a cost."""
    if lower_bound is None or lower_bound < cost * (1 - _TOLERANCE):
        return "feasible"
    return "optimal" if lower_bound >= cost else "optimal within 1e-6"


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Schedule:
    """The stage of every op. Immutable; schedules are equal when all but the time is equal.

    A cut of one's own needs the stages only: `Schedule(stages=[0, 0, 1])`.

    Among schedules of equal cost (within 1e-9), solvers return one with the fewest streamed bytes
    and, of those, the fewest crossing bytes (the sum over all stages of the bytes that enter and
    the bytes that leave, each tensor once per stage); where that takes longer than the search
    itself, or the objective knows no device, one with the fewest crossing bytes.

    Attributes:
        stages: int32 [num_ops], read-only, 0 to `num_stages - 1`, none of them empty.
        num_stages: Number of stages.
        cost: What the objective gives for this schedule (bytes as `int` where they are whole);
            `None` where nobody asked for it.
        lower_bound: No schedule of that many stages costs less; `None` if unknown.
        status: `"optimal"` says that no schedule costs less, which was proved;
            `"optimal within 1e-6"` that none costs less by more than that part, by a solver with
            tolerances; `"feasible"` that the schedule is valid and its distance from the optimum
            at most `gap`.
        objective: Name of the objective, `None` where there is no cost.
        device: What the objective is about, where that is a device or one of several `Hosts`; else
            `None`.
        optima: Of several devices, the least that a schedule costs on each, in ms, which `cost` is
            relative to: the dearest, over them, of the schedule's own time divided by that.
        cpu_stages: Stages, ascending, whose segments are never compiled and run on the host: they
            hold ops that stop the compilation of a whole file. `()` for most models.
        scheduler: Name of the scheduler; `"user"` for a cut of one's own.
        solve_seconds: Wall time of the solver in seconds; `None` where nobody measured it.
        proposal_cost: What the best of the policy's orders would have cost, each cut as well as it
            can be cut: of the schedulers that ask the policy, where there was time for it; else
            `None`.

    Raises:
        ScheduleError: Stages are no vector of whole numbers from 0, one of them is empty, a CPU
            stage is none of them, or cost, bound and status contradict each other.
    """

    stages: IntArray
    num_stages: int
    cost: int | float | None
    lower_bound: int | float | None
    status: Status
    objective: str | None
    device: EdgeTpu | Hosts | None
    optima: tuple[float, ...] | None
    cpu_stages: tuple[int, ...]
    scheduler: str
    solve_seconds: float | None = dataclasses.field(compare=False)
    proposal_cost: int | float | None

    def __init__(
        self,
        stages: npt.ArrayLike,
        num_stages: int | None = None,
        *,
        cost: int | float | None = None,
        lower_bound: int | float | None = None,
        status: Status = "feasible",
        objective: str | None = None,
        device: EdgeTpu | Hosts | None = None,
        optima: tuple[float, ...] | None = None,
        cpu_stages: Iterable[int] = (),
        scheduler: str = "user",
        solve_seconds: float | None = None,
        proposal_cost: int | float | None = None,
    ) -> None:
        array, count = _checked_stages(stages, num_stages)
        _check_claims(cost, lower_bound, status, proposal_cost)
        for name, value in {
            "stages": array,
            "num_stages": count,
            "cost": cost,
            "lower_bound": lower_bound,
            "status": status,
            "objective": objective,
            "device": device,
            "optima": optima,
            "cpu_stages": _checked_cpu_stages(cpu_stages, count),
            "scheduler": scheduler,
            "solve_seconds": None if solve_seconds is None else float(solve_seconds),
            "proposal_cost": proposal_cost,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def proposal_gap(self) -> float | None:
        """How far above the cost the proposal was, as a fraction: proposal_cost / cost - 1.

        0 where both are 0, infinite where only the cost is, `None` where one is not known.
        """
        return _gap(self.proposal_cost, self.cost)

    @property
    def gap(self) -> float | None:
        """How far above the optimum the cost can be, as a fraction: cost / lower_bound - 1.

        0 where both are 0, infinite where only the bound is, `None` where one is not known.
        """
        return _gap(self.cost, self.lower_bound)

    def with_bound(self, lower_bound: int | float | None) -> Schedule:
        """The same with another bound, at most its cost, and the status that follows from it."""
        if self.cost is None or lower_bound is None:
            return dataclasses.replace(self, lower_bound=None, status="feasible")
        bound = min(lower_bound, self.cost)
        status = status_of(self.cost, bound)
        return dataclasses.replace(self, lower_bound=bound, status=status)

    def _key(self) -> tuple[Any, ...]:
        names = (field.name for field in dataclasses.fields(self) if field.compare)
        values = (getattr(self, name) for name in names)
        return tuple(one.tobytes() if isinstance(one, np.ndarray) else one for one in values)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Schedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        sizes = np.bincount(self.stages, minlength=self.num_stages).tolist()
        shown = ", ".join(map(str, sizes[:8])) + (", ..." if len(sizes) > 8 else "")
        text = f"Schedule({self.num_stages} stages of [{shown}] ops, {self.status}"
        if self.cpu_stages:
            text += f", on the CPU: {', '.join(map(str, self.cpu_stages))}"
        if self.cost is not None:
            text += f", {self.objective} cost {self.cost}"
        if self.gap is not None:
            text += f", gap {self.gap:.2%}"
        return f"{text}, by {self.scheduler!r})"


def _gap(value: int | float | None, least: int | float | None) -> float | None:
    if value is None or least is None:
        return None
    return value / least - 1 if least else 0.0 if value == 0 else math.inf


def _checked_stages(stages: npt.ArrayLike, num_stages: int | None) -> tuple[IntArray, int]:
    try:
        array = np.array(stages)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ScheduleError(
            f"stages must be whole numbers of the shape [num_ops], one per op. Received: {error}."
        ) from error
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu":
        raise ScheduleError(
            "stages must be whole numbers of the shape [num_ops], one per op. "
            f"Received: {array.dtype} {list(array.shape)}."
        )
    if num_stages is None:
        num_stages = int(array.max()) + 1
    elif (
        isinstance(num_stages, bool) or not isinstance(num_stages, int | np.integer)
    ) or num_stages < 1:
        raise ScheduleError(
            f"num_stages must be a whole number, 1 or more. Received: {num_stages!r}."
        )
    num_stages = int(num_stages)
    bad = np.flatnonzero((array < 0) | (array >= num_stages))
    if len(bad):
        raise ScheduleError(
            f"Op {bad[0]} has the stage {array[bad[0]]}. Expected 0 to {num_stages - 1}, as there "
            f"are {num_stages} stages."
        )
    present = np.unique(array)
    if len(present) < num_stages:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        empty = int(gaps[0]) if len(gaps) else len(present)
        raise ScheduleError(
            f"Stage {empty} of {num_stages} is empty. Expected an op in every stage from 0 to "
            f"{num_stages - 1}; give it one, or ask for fewer stages."
        )
    array = array.astype(np.int32)
    array.flags.writeable = False
    return array, num_stages


def _checked_cpu_stages(cpu_stages: Iterable[int], num_stages: int) -> tuple[int, ...]:
    given: tuple[Any, ...] = tuple(cpu_stages) if isinstance(cpu_stages, Iterable) else (None,)
    good = all(
        isinstance(stage, int | np.integer) and not isinstance(stage, bool | np.bool_)
        for stage in given
    )
    if not good or len(set(given)) < len(given) or not set(given) <= set(range(num_stages)):
        raise ScheduleError(
            f"cpu_stages must be stages, 0 to {num_stages - 1}, each once. Received: "
            f"{cpu_stages!r}."
        )
    return tuple(sorted(map(int, given)))


def _check_claims(
    cost: int | float | None,
    lower_bound: int | float | None,
    status: Status,
    proposal_cost: int | float | None,
) -> None:
    for name, value in (
        ("cost", cost),
        ("lower_bound", lower_bound),
        ("proposal_cost", proposal_cost),
    ):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ScheduleError(f"{name} must be finite and 0 or more. Received: {value!r}.")
    if cost is not None and lower_bound is not None and lower_bound > cost:
        raise ScheduleError(
            f"The lower bound, {lower_bound}, is above the cost, {cost}: one of them is wrong."
        )
    claims = get_args(Status)  # the strongest one first
    if status not in claims:
        known = ", ".join(f'"{name}"' for name in claims)
        raise ScheduleError(f"status must be one of {known}. Received: {status!r}.")
    proved = "feasible" if cost is None else status_of(cost, lower_bound)
    if claims.index(status) < claims.index(proved):
        how = "equals the cost" if status == "optimal" else "is as near the cost"
        raise ScheduleError(
            f'status "{status}" needs a lower bound that {how}. Received: cost {cost}, lower bound '
            f"{lower_bound}."
        )
