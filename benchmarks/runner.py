"""The runner's threads: replicas against the formula, its own work per item, and long use.

Devices are simulated by models that sleep, so nothing but the runner's own work is measured.
"""

from __future__ import annotations

import queue
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._tables import write_results
from respect_tf.run.script._engine import Engine
from respect_tf.run.script._stages import make_stages

STAGE_MS = 10.0
NUM_ITEMS = 400
NUM_QUICK = 20_000
NUM_LONG = 200_000
NUM_REPEATS = 5  # of which the fastest counts: other work on the machine only makes it slower
MIB = 2**20


class Sleeping:
    """A device that takes some time for what comes, and hands it on."""

    def __init__(self, ms: float, device: str) -> None:
        self.device = device
        self._seconds = ms / 1000

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Wait, without holding the interpreter's lock, as a driver does."""
        if self._seconds:
            time.sleep(self._seconds)
        return [inputs[0]]

    def close(self) -> None:
        """Nothing to do."""


def main() -> None:
    """Measure and write `results/runner.md`."""
    rows = [_speed(replicas) for replicas in ([1], [1, 1], [2, 2], [4, 2], [3, 1, 2], [4, 4])]
    rows += [_overhead(num_stages, replicas) for num_stages, replicas in ((1, 1), (4, 1), (2, 2))]
    rows += [_queues(4), _long_use()]
    write_results(
        "runner",
        "The runner's own threads",
        rows,
        f"Stages that sleep {STAGE_MS:g} ms; the formula is the mean time that a stage really took "
        "divided by its devices, of the slowest stage. Overheads in processor time per item and "
        f"stage, arrays of 150,528 bytes, fastest of {NUM_REPEATS}. The rival is the plainest code "
        "that keeps the order: a thread per stage and queue.Queue(1) between them, without "
        "replicas, limits of time, statistics or errors.",
    )


def _engine(num_stages: int, replicas: Sequence[int], ms: float, **options: Any) -> Engine:
    names = [f"t{index}" for index in range(num_stages + 1)]
    stages = make_stages(
        [[name] for name in names[:-1]], [[name] for name in names[1:]], [False] * num_stages
    )
    devices = (f"sleeping:{number}" for number in range(10**6))
    models = [[Sleeping(ms, next(devices)) for _ in range(count)] for count in replicas]
    return Engine(stages, models, timeout=60.0, **options)


def _pump(engine: Engine, count: int, value: Any) -> float:
    """Seconds for so many items, with the pipeline kept full."""

    def push() -> None:
        for _ in range(count):
            engine.put({"t0": value})
        engine.end()

    thread = threading.Thread(target=push)
    started = time.perf_counter()
    thread.start()
    done = 0
    while engine.get() is not None:
        done += 1
    seconds = time.perf_counter() - started
    thread.join()
    engine.close()
    if done != count:
        raise RuntimeError(f"{done} of {count} items came back")
    return seconds


def _speed(replicas: Sequence[int]) -> dict[str, Any]:
    value = np.zeros((1, 224, 224, 3), np.int8)
    shares = []
    for _ in range(NUM_REPEATS):
        engine = _engine(len(replicas), replicas, STAGE_MS, input_queue_size=8)
        measured = 1000 * _pump(engine, NUM_ITEMS, value) / NUM_ITEMS
        # What the sleeping took: on a machine that has other work it takes longer than asked for.
        slowest = [
            stage.mean_ms / count
            for stage, count in zip(engine.statistics(), replicas, strict=True)
        ]
        shares.append((max(slowest) / measured, max(slowest), measured))
    share, formula, measured = max(shares)
    return {
        "what": f"devices per stage {list(replicas)}, ms per result",
        "formula or rival": formula,
        "measured": measured,
        "share": share,
    }


def _overhead(num_stages: int, count: int) -> dict[str, Any]:
    value = np.zeros((1, 224, 224, 3), np.int8)
    best = min(
        _cpu_seconds(
            lambda: _pump(
                _engine(num_stages, [count] * num_stages, 0.0, input_queue_size=8),
                NUM_QUICK,
                value,
            )
        )
        for _ in range(NUM_REPEATS)
    )
    rival = min(_cpu_seconds(lambda: _plain(num_stages, NUM_QUICK)) for _ in range(NUM_REPEATS))
    scale = 1000 / NUM_QUICK / num_stages
    return {
        "what": f"overhead, {num_stages} stages of {count}, ms per item and stage",
        "formula or rival": rival * scale,
        "measured": best * scale,
        "share": rival / best,
    }


def _queues(num_stages: int) -> dict[str, Any]:
    """The same on the wall."""
    value = np.zeros((1, 224, 224, 3), np.int8)
    best = min(
        _pump(_engine(num_stages, [1] * num_stages, 0.0, input_queue_size=8), NUM_QUICK, value)
        for _ in range(NUM_REPEATS)
    )
    rival = min(_plain(num_stages, NUM_QUICK) for _ in range(NUM_REPEATS))
    scale = 1000 / NUM_QUICK / num_stages
    return {
        "what": f"the same on the wall, {num_stages} stages of 1",
        "formula or rival": rival * scale,
        "measured": best * scale,
        "share": rival / best,
    }


def _long_use() -> dict[str, Any]:
    """Memory that comes between a tenth of many items and their end."""
    value = np.zeros((1, 224, 224, 3), np.int8)
    engine = _engine(2, [2, 3], 0.0, input_queue_size=8, output_queue_size=8)

    def push() -> None:
        for _ in range(NUM_LONG):
            engine.put({"t0": value.copy()})
        engine.end()

    thread = threading.Thread(target=push)
    thread.start()
    count, early = 0, 0.0
    while engine.get() is not None:
        count += 1
        if count == NUM_LONG // 10:
            early = _resident_mib()
    thread.join()
    engine.close()
    left = sum("respect_tf" in thread.name for thread in threading.enumerate())
    return {
        "what": f"{count:,} items through [2, 3], MiB after a tenth; {left} threads left",
        "formula or rival": 0.0,
        "measured": _resident_mib() - early,
        "share": 1.0,
    }


def _plain(num_stages: int, count: int) -> float:
    value = np.zeros((1, 224, 224, 3), np.int8)
    queues: list[queue.Queue[Any]] = [queue.Queue(8), *(queue.Queue(1) for _ in range(num_stages))]

    def stage(source: queue.Queue[Any], sink: queue.Queue[Any]) -> None:
        while (item := source.get()) is not None:
            sink.put(item)
        sink.put(None)

    threads = [
        threading.Thread(target=stage, args=(queues[i], queues[i + 1])) for i in range(num_stages)
    ]

    def push() -> None:
        for _ in range(count):
            queues[0].put(value)
        queues[0].put(None)

    threads.append(threading.Thread(target=push))
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    while queues[-1].get() is not None:
        pass
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _cpu_seconds(work: Any) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / MIB


if __name__ == "__main__":
    main()
