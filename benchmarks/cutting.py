"""The ten models in 4, 5 and 6 segments: peak stage bytes, proof, time, memory, parity."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import respect_tf
from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import environment, markdown, update_page, write_results
from respect_tf.segmentation import check_runner_rules

NUM_STAGES = (4, 5, 6)
_NUM_RUNS = 5


def main() -> None:
    """Measure and write `results/cutting.md`."""
    rows = []
    for name in TEN_MODELS:
        content = int8_model(name)
        graph = respect_tf.OpGraph.from_tflite(content)
        rows += [_row(name, content, graph, num_stages) for num_stages in NUM_STAGES]
    exact = sum(row["parity"] == "bit-exact" for row in rows)
    proved = sum(row["gap"] == 0 for row in rows)
    notes = f"""
{exact} of {len(rows)} cuts are bit-exact at every tensor that crosses a cut and valid under the
runner's rules; {proved} are proved optimal (gap 0). Bytes are the parameter bytes of the fullest
stage. "file order" is the best cut of the ops in the order of the file (scheduler "slicing").
Times are medians of five runs; "cut" is reading, cutting, packing and checking the rules; "memory"
is what that needs at its peak, as a multiple of the model's size, the model itself not counted.
"""
    write_results("cutting", "Cutting the ten models", rows, notes)
    update_page("cutting", f"{markdown(_by_model(rows))}\n\n{environment()}")


def _by_model(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per model: peaks at each number of stages, the slowest time, the most memory."""
    table = []
    for name in TEN_MODELS:
        own = [row for row in rows if row["model"] == name]
        peaks = {f"peak bytes, K={row['K']}": row["peak bytes"] for row in own}
        over = max(row["file order"] / row["peak bytes"] - 1 for row in own)
        table.append(
            {
                "model": name,
                "MB": round(own[0]["MB"], 1),
                "ops": own[0]["ops"],
                **peaks,
                "largest gap": f"{max(row['gap'] for row in own):.1%}",
                "file order, at worst": f"+{over:.1%}",
                "schedule s": max(row["schedule s"] for row in own),
                "cut s": max(row["cut s"] for row in own),
                "memory": max(row["memory"] for row in own),
                "bit-exact": f"{sum(row['parity'] == 'bit-exact' for row in own)} of {len(own)}",
            }
        )
    return table


def _row(name: str, content: bytes, graph: respect_tf.OpGraph, num_stages: int) -> dict[str, Any]:
    schedule, schedule_seconds = _median_seconds(
        lambda: respect_tf.schedule(graph, num_stages, "exact", objective="memory")
    )
    sliced = respect_tf.schedule(graph, num_stages, "slicing", objective="memory")
    segments, cut_seconds = _median_seconds(lambda: respect_tf.segment(content, schedule))
    check_runner_rules(segments)
    try:
        respect_tf.verify(content, segments)
        parity = "bit-exact"
    except respect_tf.ParityError as error:
        parity = str(error)
    tracemalloc.start()
    respect_tf.segment(content, schedule)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "model": name,
        "MB": len(content) / 1e6,
        "ops": graph.num_ops,
        "K": num_stages,
        "peak bytes": schedule.cost,
        "bound": schedule.lower_bound,
        "gap": schedule.gap,
        "file order": sliced.cost,
        "schedule s": schedule_seconds,
        "cut s": cut_seconds,
        "memory": peak / len(content),
        "parity": parity,
    }


def _median_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the median wall time of five runs of it."""
    seconds = []
    for _ in range(_NUM_RUNS):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return result, statistics.median(seconds)


if __name__ == "__main__":
    main()
