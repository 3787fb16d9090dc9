"""Pictures with a strip per stage: its memory, and its part in the simulated pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from respect_tf.report._colours import (
    ACTIVATIONS,
    CACHED,
    LOGGED,
    LOGGED_STREAMED,
    SHARED,
    STREAMED,
    lighter,
    stage_colour,
    text_colour,
)
from respect_tf.report._gantt import BUS, Gantt, Row
from respect_tf.report._picture import Picture, Rect, Shape, Strip, Text
from respect_tf.report._prediction import StageOnDevice
from respect_tf.report._text import format_bytes

_WIDEST_BAR = 98.0  # percent
_NUM_TICKS = 5
_NARROWEST_NUMBER = 3.0  # percent of the width that a bar needs to have its number inside


def memory_picture(stages: Sequence[StageOnDevice], room_bytes: int) -> Picture:
    """What each stage keeps on its Edge TPU, and what is streamed, against the room there.

    Bars are predicted; where a stage is compiled, a narrow bar below has the compiler's figures.

    Args:
        stages: The stages on their devices.
        room_bytes: What an Edge TPU holds of parameters and activations.
    """
    longest = max(
        1,
        room_bytes,
        *(s.predicted.cost.activation_bytes + s.predicted.stored_bytes for s in stages),
        *(s.predicted.cost.activation_bytes + sum(_logged(s)) for s in stages),
    )
    scale = _WIDEST_BAR / longest
    legend = [
        (ACTIVATIONS, "activations"),
        (CACHED, "parameters on chip"),
        (STREAMED, "parameters streamed at every inference"),
        ("room", f"room: {format_bytes(room_bytes)}"),
    ]
    if any(stage.logged is not None for stage in stages):
        legend.append((LOGGED, "lower bars: compiler log"))
    return Picture(
        tuple(_memory_strip(at, stage, scale, room_bytes) for at, stage in enumerate(stages)),
        tuple(legend),
    )


def _memory_strip(index: int, stage: StageOnDevice, scale: float, room_bytes: int) -> Strip:
    memory = stage.predicted.cost
    activations = memory.activation_bytes
    said = (
        f"{format_bytes(memory.cached_bytes)} on chip, {format_bytes(memory.streamed_bytes)} "
        f"streamed, {format_bytes(activations)} of activations"
    )
    parts = [
        (activations, ACTIVATIONS),
        (memory.cached_bytes, CACHED),
        (memory.streamed_bytes, STREAMED),
    ]
    shapes = _stacked(parts, scale, y=2, height=16)
    if stage.logged is not None:
        used, out = _logged(stage)
        said += (
            f"; compiler log: {format_bytes(used)} on chip, {format_bytes(out)} streamed "
            "(lower bar)"
        )
        # Parameters begin where the prediction has them, so that the two can be compared.
        logged = [(activations, ""), (used, LOGGED), (out, LOGGED_STREAMED)]
        shapes += _stacked(logged, scale, y=20, height=5)
    shapes.append(Rect(room_bytes * scale, 0, 0, 26, "", "room"))
    return Strip(26, tuple(shapes), f"memory of stage {index}", f"stage {index}", said)


def _logged(stage: StageOnDevice) -> tuple[int, int]:
    """Parameter bytes on chip and streamed by the compiler's log."""
    log = stage.logged
    return (0, 0) if log is None else (log.on_chip_used_bytes or 0, log.off_chip_bytes or 0)


def _stacked(parts: Sequence[tuple[int, str]], scale: float, *, y: int, height: int) -> list[Shape]:
    left, bars = 0.0, list[Shape]()
    for size, colour in parts:
        if colour and size:
            bars.append(Rect(left, y, size * scale, height, colour))
        left += size * scale
    return bars


def pipeline_picture(gantt: Gantt) -> Picture:
    """Which stage works on which input when, with the bottleneck marked.

    Args:
        gantt: A stretch of the simulated pipeline.
    """
    span = gantt.end_ms - gantt.start_ms
    ticks = []
    for tick in range(_NUM_TICKS):
        share = tick / (_NUM_TICKS - 1)
        anchor = "start" if tick == 0 else "end" if tick == _NUM_TICKS - 1 else "middle"
        ticks.append(Text(100 * share, 14, f"{share * span:.4g} ms", "tick", anchor=anchor))  # type: ignore[arg-type]
    return Picture(
        (*(_row_strip(gantt, row) for row in gantt.rows), Strip(18, tuple(ticks), "time")),
        above=gantt.title,
        below=f"Input {gantt.highlighted} is outlined.",
    )


def _row_strip(gantt: Gantt, row: Row) -> Strip:
    span = gantt.end_ms - gantt.start_ms
    colour = SHARED if row.stage == BUS else stage_colour(row.stage)
    shapes: list[Shape] = []
    # The outlined bar comes last, on top of its neighbours.
    for bar in sorted(gantt.bars, key=lambda bar: bar.input == gantt.highlighted):
        if (bar.stage, bar.replica) != row:
            continue
        left = 100 * (max(bar.start_ms, gantt.start_ms) - gantt.start_ms) / span
        width = 100 * (min(bar.end_ms, gantt.end_ms) - gantt.start_ms) / span - left
        fill = colour if bar.input % 2 else lighter(colour)
        shapes.append(
            Rect(
                left,
                2,
                width,
                20,
                fill,
                "followed" if bar.input == gantt.highlighted else "bar",
                tip=f"input {bar.input}: {bar.end_ms - bar.start_ms:.3f} ms",
            )
        )
        if width > _NARROWEST_NUMBER:
            number = Text(left + width / 2, 16, str(bar.input), "number", text_colour(fill))
            shapes.append(number)
    name, marked = gantt.row_label(row), gantt.is_bottleneck(row)
    label = f"{name} (bottleneck)" if marked else name
    return Strip(24, tuple(shapes), name, label, marked=marked)
