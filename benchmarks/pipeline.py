"""The pipeline on the CPU: equal to the whole model, faster than one segment after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import respect_tf
from benchmarks._fresh import fresh_parity
from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import markdown, update_page, write_results
from respect_tf.run import PipelineRunner, SegmentChain, create_runner, simulate
from respect_tf.segmentation import Segment, random_inputs
from respect_tf.tflite import Interpreter, silenced

NUM_STAGES = 4
REPLICAS = (1, 2, 1, 2)
NUM_INPUTS = 4  # per model, over the full range of the stored numbers
NUM_ITEMS = 60
NUM_SMALL_ITEMS = 2000
NUM_REPEATS = 5  # of which the fastest counts: other work on the machine only makes it slower
NUM_SIMULATED = 100_000

_PARITY_NOTES = f"""
Cut for {NUM_STAGES} stages, with replicas {list(REPLICAS)}; every output compared byte for byte.
"equal elsewhere": the saved folder's `run_pipeline.py --cpu` against the whole model in the same
interpreter, both in an environment of their own with ai-edge-litert and numpy alone.
"""


def main() -> None:
    """Measure and write `results/pipeline_parity.md` and `results/pipeline_speed.md`."""
    speed = speed_rows()
    write_results(
        "pipeline_speed", "The CPU runner's speed", speed, "The fastest of repeated runs."
    )
    update_page("pipeline", markdown(speed))
    write_parity()


def write_parity() -> None:
    """Measure and write `results/pipeline_parity.md`."""
    rows = [parity_row(name) for name in TEN_MODELS]
    write_results("pipeline_parity", "The CPU runner against the whole model", rows, _PARITY_NOTES)


def speed_rows() -> list[dict[str, Any]]:
    """Throughput of two equal stages, overhead of stages that do next to nothing, simulator."""
    balanced = segments_of_equal_layers(2, channels=64, layers=8, size=48)
    alone, together = seconds_per_item(balanced, NUM_ITEMS)
    small = segments_of_equal_layers(4, channels=8, layers=4, size=4)
    bare, piped = seconds_per_item(small, NUM_SMALL_ITEMS)
    started = time.process_time()
    simulate([3.0, 5.0, 4.0, 2.0], NUM_SIMULATED)
    simulated = time.process_time() - started
    return [
        {"what": "two equal stages, one after the other, ms", "value": 1000 * alone},
        {"what": "two equal stages, runner on the CPU, ms", "value": 1000 * together},
        {"what": "throughput, times as much", "value": alone / together},
        {"what": "four tiny stages, interpreters alone, ms", "value": 1000 * bare},
        {"what": "four tiny stages, runner on the CPU, ms", "value": 1000 * piped},
        {"what": "overhead per item and stage, ms", "value": 1000 * (piped - bare) / 4},
        {"what": f"simulating {NUM_SIMULATED:,} inputs in 4 stages, s", "value": simulated},
    ]


def parity_row(name: str) -> dict[str, Any]:
    """One model's outputs through the runner and in one piece."""
    content = int8_model(name)
    graph = respect_tf.OpGraph.from_tflite(content)
    chosen = respect_tf.schedule(graph, NUM_STAGES, "slicing", objective="memory")
    segments = respect_tf.segment(content, chosen)
    whole = Interpreter(content)
    equal = 0
    with create_runner(segments, device="cpu", replicas=REPLICAS) as runner:
        inputs = random_inputs(graph, NUM_INPUTS, seed=0)
        for sample in inputs:
            runner.push(_named(segments, sample))
        for sample in inputs:
            result = runner.pop() or {}
            expected = [value.tobytes() for value in whole.run(sample)]
            equal += [value.tobytes() for value in result.values()] == expected
    pipeline = respect_tf.convert(
        content, NUM_STAGES, scheduler=chosen, compile=False, verify=False, verbose=0
    )
    elsewhere = fresh_parity(pipeline, np.concatenate([one[0] for one in inputs]), REPLICAS)
    return {"model": name, "inputs": NUM_INPUTS, "equal": equal, "equal elsewhere": elsewhere}


def segments_of_equal_layers(
    num_stages: int, *, channels: int, layers: int, size: int
) -> tuple[Segment, ...]:
    """A stack of convolutions in stages of as many layers each."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, channels))
    tensor = image
    for index in range(layers):
        layer = keras.layers.Conv2D(channels, 3, padding="same", name=f"layer_{index}")
        tensor = layer(tensor)
    samples = np.random.default_rng(0).normal(size=(4, size, size, channels)).astype(np.float32)
    with silenced():
        model = respect_tf.convert(
            keras.Model(image, tensor), 1, samples, objective="memory", verbose=0
        ).model
    cuts = [f"layer_{layers * stage // num_stages - 1}" for stage in range(1, num_stages)]
    return respect_tf.segment(model, cuts=cuts)


def seconds_per_item(segments: Sequence[Segment], num_items: int) -> tuple[float, float]:
    """Segments one after the other in one thread, and in a runner."""
    spec = segments[0].inputs[0]
    sample = np.random.default_rng(0).integers(-128, 128, spec.shape).astype(np.int8)
    chain = SegmentChain(segments)
    alone, together = [], []
    for _ in range(NUM_REPEATS):
        started = time.perf_counter()
        for _ in range(num_items):
            chain.run([sample])
        alone.append((time.perf_counter() - started) / num_items)
        with create_runner(segments, device="cpu", input_queue_size=2) as runner:
            started = time.perf_counter()
            pump(runner, {spec.name: sample}, num_items)
            together.append((time.perf_counter() - started) / num_items)
    return min(alone), min(together)


def pump(runner: PipelineRunner, tensors: dict[str, Any], num_items: int) -> None:
    """Push and pop so that the pipeline stays full."""
    ahead = min(num_items, 2 * len(runner.interpreters()) + 2)
    for _ in range(ahead):
        runner.push(tensors)
    for _ in range(num_items - ahead):
        runner.pop()
        runner.push(tensors)
    for _ in range(ahead):
        runner.pop()


def _named(segments: Sequence[Segment], sample: Sequence[Any]) -> dict[str, Any]:
    names = (spec.name for spec in segments[0].inputs)
    return dict(zip(names, sample, strict=True))


if __name__ == "__main__":
    main()
