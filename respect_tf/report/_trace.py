"""A simulated pipeline in the format that chrome://tracing and Perfetto open.

Format: "Trace Event Format", Google, 2016 (complete, metadata and flow events; times in
microseconds).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from respect_tf.run import Simulation

_PROCESS = 1


def chrome_trace(simulation: Simulation, *, name: str) -> str:
    """A row per device of a stage with a bar per inference, and arrows that follow each input.

    Args:
        simulation: What happened when.
        name: The pipeline's name.

    Returns:
        JSON; the same simulation gives the same text.
    """
    trace = {
        "traceEvents": list(_events(simulation, name)),
        "displayTimeUnit": "ms",
        "otherData": {"source": "simulated from predictions; nothing is measured"},
    }
    return json.dumps(trace, allow_nan=False, separators=(",", ":")) + "\n"


def _events(simulation: Simulation, name: str) -> Iterator[dict[str, Any]]:
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


def _event(phase: str, thread: int) -> dict[str, Any]:
    return {"ph": phase, "pid": _PROCESS, "tid": thread}


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {**_event("M", thread), "name": kind, "args": {"name": name}}
