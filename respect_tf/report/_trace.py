"""A simulated pipeline in the format that chrome://tracing and Perfetto open.

Format: "Trace Event Format", Google, 2016 (complete, metadata and flow events; times in
microseconds).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from respect_tf.device import PipelinePrediction, StageCost
from respect_tf.run import Simulation

_PROCESS = 1
_NOTHING = 1e-6  # microseconds, below which there is nothing to see


def chrome_trace(simulation: Simulation, prediction: PipelinePrediction, *, name: str) -> str:
    """A row per device of a stage with a bar per inference, and arrows that follow each input.

    Args:
        simulation: What happened when.
        prediction: What it was simulated from; says what each inference consists of.
        name: The pipeline's name.

    Returns:
        JSON; the same simulation gives the same text.
    """
    trace = {
        "traceEvents": list(_events(simulation, prediction, name)),
        "displayTimeUnit": "ms",
        "otherData": {"source": "simulated from predictions; nothing is measured"},
    }
    return json.dumps(trace, allow_nan=False, separators=(",", ":")) + "\n"


def _events(
    simulation: Simulation, prediction: PipelinePrediction, name: str
) -> Iterator[dict[str, Any]]:
    yield _named("process_name", 0, name)
    last = len(simulation.stages) - 1
    counts = [stage.replicas for stage in simulation.stages]
    firsts = [sum(counts[:stage]) for stage in range(last + 1)]  # each device has a row
    for stage, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        for row in range(first, first + count):
            label = f"stage {stage}, TPU {row - first + 1}" if count > 1 else f"stage {stage}"
            yield _named("thread_name", row, label)
            yield {**_event("M", row), "name": "thread_sort_index", "args": {"sort_index": row}}
    for bar in simulation.gantt(0, simulation.num_inputs):
        start, end = 1000 * bar.start_ms, 1000 * bar.end_ms
        entered = float(simulation.enter_ms[bar.input])
        row = firsts[bar.stage] + bar.replica
        yield {
            **_event("X", row),
            "name": f"input {bar.input}",
            "cat": "inference",
            "ts": start,
            "dur": end - start,
            "args": {"input": bar.input, "ms_since_it_entered": bar.end_ms - entered},
        }
        for part, begin, stop in _parts(prediction.stages[bar.stage].cost, start, end):
            yield {
                **_event("X", row),
                "name": part,
                "cat": "part",
                "ts": begin,
                "dur": stop - begin,
            }
        if last:
            # An arrow from bar to bar; it starts at the first one and finishes at the last.
            phase = "s" if bar.stage == 0 else "f" if bar.stage == last else "t"
            binding = {"bp": "e"} if phase == "f" else {}
            yield {
                **_event(phase, row),
                "name": "hand-over",
                "cat": "flow",
                "id": bar.input,
                "ts": (start + end) / 2,
                **binding,
            }


def _parts(cost: StageCost, start: float, end: float) -> Iterator[tuple[str, float, float]]:
    """What an inference consists of, one after the other: name, start and end in microseconds.

    Where it takes longer than its stage alone, it has waited for what the stages share.
    """
    known = [
        ("input", cost.input_ms),
        ("instructions", cost.instruction_ms),
        ("streaming", cost.stream_ms),
        ("compute", cost.compute_ms),
        ("ops on the CPU", cost.cpu_ms),
        ("output", cost.output_ms),
        ("overhead", cost.fixed_ms),
    ]
    total = 1000 * math.fsum(ms for _, ms in known)
    waiting = max(0.0, end - start - total)
    scale = (end - start - waiting) / total if total else 0.0
    at = start
    for name, lasts in [("waiting", waiting / 1000), *((name, ms * scale) for name, ms in known)]:
        if lasts * 1000 > _NOTHING:
            yield name, at, min(at + 1000 * lasts, end)
            at += 1000 * lasts


def _event(phase: str, thread: int) -> dict[str, Any]:
    return {"ph": phase, "pid": _PROCESS, "tid": thread}


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {**_event("M", thread), "name": kind, "args": {"name": name}}
