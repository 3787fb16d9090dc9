from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf._errors import ScheduleError
from respect_tf.compile import (
    Compilation,
    CompiledCut,
    Compiler,
    CompileResult,
    CompilerLog,
    CutAttempt,
    Failure,
    ModelLog,
    SegmentCompilation,
    compile_and_recut,
    compile_segments,
)
from respect_tf.compile._recut import _badness
from respect_tf.device import op_parameters
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Constraints, Schedule, schedule
from respect_tf.segmentation import segment

Plan = Callable[..., Path]
COMPILER = Compiler(Path("edgetpu_compiler"), "16.0.1")


@pytest.fixture(scope="module")
def model() -> bytes:
    """Twelve convolutions of 64 KiB each."""
    builder = ModelBuilder()
    made = builder.input(channels=256)
    for _ in range(12):
        made = builder.conv(made, 256)
    return builder.build([made])


@pytest.fixture(scope="module")
def graph(model: bytes) -> OpGraph:
    return OpGraph.from_tflite(model)


class Device:
    """Compiles segments as a device with so much room in each stage would have them."""

    def __init__(self, rooms: list[int], oddity: bool = False) -> None:
        self.rooms, self.oddity, self.compiled = rooms, oddity, []

    def __call__(self, segments) -> Compilation:
        self.compiled.append([len(s.ops) for s in segments])
        return Compilation(COMPILER, tuple(self._one(s) for s in segments))

    def _one(self, segment) -> SegmentCompilation:
        room = self.rooms[segment.index]
        used = streamed = 0
        for size in op_parameters(OpGraph.from_tflite(segment.content)).logged.tolist():
            if used + size <= room:
                used += size
            else:
                streamed += size
        log = ModelLog(
            "in.tflite",
            on_chip_used_bytes=used,
            on_chip_remaining_bytes=room - used + 10**6 * (self.oddity and streamed > 0),
            off_chip_bytes=streamed,
        )
        run = CompileResult(b"", "", CompilerLog("16.0.1", (log,), ()), None, 0, 1, 0.0)
        return SegmentCompilation(segment, run)


def recut(model: bytes, graph: OpGraph, device, *, first=None, constrained=True, **options):
    first = first or schedule(graph, 3, "exact", objective="memory")

    def again(rooms: Sequence[float]) -> Schedule:
        kept = Constraints(stage_bytes=rooms)
        return schedule(graph, 3, "exact", objective="memory", constraints=kept)

    return compile_and_recut(
        graph,
        first,
        lambda chosen: segment(model, chosen),
        compile_segments=device,
        reschedule=again if constrained else None,
        **options,
    )


def test_nothing_is_cut_again_where_nothing_streams(model, graph) -> None:
    device = Device([400_000] * 3)
    found = recut(model, graph, device)
    assert (device.compiled, found.chosen) == ([[4, 4, 4]], 0)
    assert str(found.attempts[0]) == "no segment streams more parameters than predicted"


@pytest.mark.parametrize("oddity", [False, True])
@pytest.mark.parametrize("rooms", [[150, 600, 600], [600, 150, 600], [150, 280, 900]])
def test_a_stage_with_less_room_gets_less(model, graph, rooms: list[int], oddity: bool) -> None:
    device = Device([1000 * room for room in rooms], oddity=oddity)
    found = recut(model, graph, device)
    assert sum(found.attempts[0].streamed_bytes) > 100_000
    assert found.compilation.streamed_bytes == (0, 0, 0)
    assert found.chosen == len(found.attempts) - 1 > 0
    assert np.bincount(found.schedule.stages).tolist() == device.compiled[-1]
    assert device.compiled[0] == [4, 4, 4]
    limits = found.attempts[-1].stage_bytes
    for stage, limit in enumerate(limits):
        assert graph.parameter_bytes[found.schedule.stages == stage].sum() <= limit
    assert "streams 0.13 MiB, 0.00 MiB predicted" in str(found.attempts[0])
    assert found.schedule.status == "feasible"  # a device with more room would do better
    assert found.schedule.lower_bound == found.attempts[0].schedule.cost < found.schedule.cost


def test_cutting_again_is_bounded(model, graph) -> None:
    device = Device([150_000, 280_000, 900_000])
    found = recut(model, graph, device, max_recuts=0)
    assert device.compiled == [[4, 4, 4]]
    assert found.chosen == 0
    assert sum(found.compilation.streamed_bytes) > 0


def test_nothing_is_cut_again_where_there_is_no_room(model, graph) -> None:
    device = Device([200_000] * 3)
    found = recut(model, graph, device)
    assert device.compiled == [[4, 4, 4]]
    assert found.attempts[0].unexpected == (0, 1, 2)


def test_a_cut_of_ones_own_is_not_changed(model, graph) -> None:
    device = Device([150_000, 900_000, 900_000])
    own = Schedule(np.repeat([0, 1, 2], [6, 3, 3]))
    found = recut(model, graph, device, first=own, constrained=False)
    assert found.schedule is own
    assert device.compiled == [[6, 3, 3]]


def test_no_schedule_within_the_limits_leaves_the_best_so_far(model, graph) -> None:
    def refuse(rooms: Sequence[float]) -> Schedule:
        raise ScheduleError("none")

    first = schedule(graph, 3, "exact", objective="memory")
    found = compile_and_recut(
        graph,
        first,
        lambda chosen: segment(model, chosen),
        compile_segments=Device([150_000, 900_000, 900_000]),
        reschedule=refuse,
    )
    assert found.schedule is first
    assert len(found.attempts) == 1


def test_the_best_attempt_is_returned_not_the_last(model, graph) -> None:
    worse = Schedule(np.repeat([0, 1, 2], [10, 1, 1]))
    found = compile_and_recut(
        graph,
        schedule(graph, 3, "exact", objective="memory"),
        lambda chosen: segment(model, chosen),
        compile_segments=Device([150_000, 900_000, 900_000]),
        reschedule=lambda rooms: worse,
    )
    assert found.chosen == 0
    assert found.attempts[1].streamed_bytes > found.attempts[0].streamed_bytes


def test_logs_without_figures_change_nothing(model, graph) -> None:
    def failing(segments) -> Compilation:
        run = CompileResult(None, "", None, Failure("crash", "gone"), -11, 1, 0.0)
        return Compilation(COMPILER, tuple(SegmentCompilation(s, run) for s in segments))

    found = recut(model, graph, failing)
    assert len(found.attempts) == 1
    assert str(found.attempts[0]) == "3 segments could not be compiled"


def test_recut_on_a_compiler_that_streams_helps(
    model, graph, stand_in_program: Path, plan: Plan
) -> None:
    plan(room_bytes=[150_000, 900_000, 900_000])
    compiler = Compiler(stand_in_program, "16.0.384591198")
    run = functools.partial(compile_segments, compiler=compiler, verbose=0)
    found = recut(model, graph, run)
    before, after = found.attempts[0].streamed_bytes, found.compilation.streamed_bytes
    assert (sum(before) > 130_000, sum(after)) == (True, 0)
    found.compilation.check()
    entry = found.attempts[1].to_dict()
    assert entry["logged_streamed_bytes"] == [0, 0, 0]
    assert len(entry["stage_bytes"]) == 3


def test_what_nothing_is_known_of_is_not_taken_for_good(model: bytes, graph: OpGraph) -> None:
    first = schedule(graph, 3, "exact", objective="memory")
    known = CutAttempt(first, None, (0, 0, 0), (10, 0, 0), 0)
    unknown = CutAttempt(first, None, (0, 0, 0), (0, None, 0), 0)
    assert unknown.unknown == (1,)
    assert str(unknown) == "nothing says what segment 1 streams"
    assert _badness(unknown) > _badness(known)
    made = CompiledCut(first, Compilation(COMPILER, ()), (unknown,))
    assert made.describe() == ("cut 1 of 1: nothing says what segment 1 streams (chosen)",)
