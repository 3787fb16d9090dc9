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
    """A row per stage with a bar per inference, and arrows that follow each input.

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
    for stage in range(last + 1):
        yield _named("thread_name", stage, f"stage {stage}")
        yield {**_event("M", stage), "name": "thread_sort_index", "args": {"sort_index": stage}}
    for bar in simulation.gantt(0, simulation.num_inputs):
        start, end = 1000 * bar.start_ms, 1000 * bar.end_ms
        entered = float(simulation.enter_ms[bar.input])
        yield {
            **_event("X", bar.stage),
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
                **_event(phase, bar.stage),
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
