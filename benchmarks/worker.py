"""What it costs to run models in a worker instead of in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import respect_tf
from benchmarks._models import int8_model
from benchmarks._tables import write_results
from benchmarks.pipeline import pump
from respect_tf.run import PipelineRunner, create_runner
from respect_tf.segmentation import Segment, random_inputs
from respect_tf.tflite import Interpreter, mark_made_here

MODEL = "MobileNetV2"
NUM_STAGES = 4
NUM_OPENED = 10
NUM_ROUNDS = 10  # of some inferences here and as many there, so that other work meets both alike
NUM_INFERENCES = 10
NUM_ITEMS = 40  # that go through a runner
NUM_REPEATS = 5  # of both runners in turns


def main() -> None:
    """Measure and write `results/worker.md`."""
    notes = (
        "The same models in this process and in workers, in turns. Times are medians, throughput "
        "is that of the fastest of the repeated runs: other work on the machine makes it slower "
        "only. The way there and back is the time of a call less that of TFLite itself; the least "
        "of all calls is what it takes where nothing else runs. The processor's time, of this "
        "process and the workers together, does not depend on what else runs."
    )
    write_results("worker", "Models in workers", rows(), notes)


def rows() -> list[dict[str, Any]]:
    """Time to open a model, of an inference, and throughput of a runner."""
    content = int8_model(MODEL)
    graph = respect_tf.OpGraph.from_tflite(content)
    chosen = respect_tf.schedule(graph, NUM_STAGES, "slicing", objective="memory")
    segments = respect_tf.segment(content, chosen)
    (sample,) = random_inputs(graph, 1, seed=0)
    opening = [_timed(lambda: Interpreter(content).close()) for _ in range(NUM_OPENED)]
    in_worker = Interpreter(content)
    in_worker.run(sample)
    chain_there = [Interpreter(segment.content) for segment in segments]
    _run_chain(chain_there, segments, sample)
    runner_there = create_runner(segments, device="cpu", input_queue_size=2)
    # What is opened from now on runs here.
    for model in (content, *(segment.content for segment in segments)):
        mark_made_here(model)
    here = Interpreter(content)
    chain_here = [Interpreter(segment.content) for segment in segments]
    _run_chain(chain_here, segments, sample)
    calls: dict[str, list[float]] = {"here": [], "there": [], "way here": [], "way there": []}
    for _ in range(NUM_ROUNDS):
        for name, model in (("here", here), ("there", in_worker)):
            for _ in range(NUM_INFERENCES):
                seconds = _timed(lambda model=model: model.run(sample))  # type: ignore[misc]
                calls[name].append(1000 * seconds)
                calls[f"way {name}"].append(1000 * (seconds - model.run_seconds))
    best = {"here": float("inf"), "there": float("inf")}
    with create_runner(segments, device="cpu", input_queue_size=2) as runner_here, runner_there:
        for _ in range(NUM_REPEATS):
            for name, runner in (("here", runner_here), ("there", runner_there)):
                seconds = _timed(lambda runner=runner: _send(runner, segments, sample))  # type: ignore[misc]
                best[name] = min(best[name], seconds / NUM_ITEMS)
    cpu_ms = {"here": [], "there": []}  # type: dict[str, list[float]]
    for _ in range(NUM_ROUNDS):
        for name, chain in (("here", chain_here), ("there", chain_there)):
            before = _cpu_seconds(chain)
            for _ in range(NUM_INFERENCES):
                _run_chain(chain, segments, sample)
            cpu_ms[name].append(1000 * (_cpu_seconds(chain) - before) / NUM_INFERENCES)
    cpu = {name: min(values) for name, values in cpu_ms.items()}
    median = {name: statistics.median(values) for name, values in calls.items()}
    return [
        {
            "what": "opening the first model, which starts the process, ms",
            "value": 1000 * opening[0],
        },
        {"what": "opening another model, ms", "value": 1000 * statistics.median(opening[1:])},
        {"what": f"{MODEL}, an inference here, ms", "value": median["here"]},
        {"what": f"{MODEL}, an inference in a worker, ms", "value": median["there"]},
        {"what": "the way there and back, ms", "value": median["way there"] - median["way here"]},
        {
            "what": "the way there and back, least, ms",
            "value": min(calls["way there"]) - min(calls["way here"]),
        },
        {"what": f"{NUM_STAGES} segments here, processor's time an item, ms", "value": cpu["here"]},
        {
            "what": f"{NUM_STAGES} segments in workers, processor's time an item, ms",
            "value": cpu["there"],
        },
        {
            "what": "items for the processor's time, times as much",
            "value": cpu["here"] / cpu["there"],
        },
        {"what": f"{NUM_STAGES} segments, runner here, items/s", "value": 1 / best["here"]},
        {
            "what": f"{NUM_STAGES} segments, runner in workers, items/s",
            "value": 1 / best["there"],
        },
        {"what": "throughput, times as much", "value": best["here"] / best["there"]},
    ]


def _send(runner: PipelineRunner, segments: Sequence[Segment], sample: Sequence[Any]) -> None:
    names = (spec.name for spec in segments[0].inputs)
    pump(runner, dict(zip(names, sample, strict=True)), NUM_ITEMS)


def _run_chain(
    chain: Sequence[Interpreter], segments: Sequence[Segment], sample: Sequence[Any]
) -> None:
    values = dict(zip((spec.name for spec in segments[0].inputs), sample, strict=True))
    for segment, model in zip(segments, chain, strict=True):
        made = model.run([values[spec.name] for spec in segment.inputs])
        values.update(zip((spec.name for spec in segment.outputs), made, strict=True))


def _cpu_seconds(chain: Sequence[Interpreter]) -> float:
    """Of this process and of the models' workers."""
    workers = [model.worker_pid for model in chain if model.worker_pid is not None]
    spent = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in workers]
    return time.process_time() + sum(int(nanoseconds) for nanoseconds in spent) / 1e9


def _timed(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
