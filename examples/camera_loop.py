"""Frames from a camera through a pipeline of Edge TPUs, with results as they come.

    python -m examples.camera_loop FOLDER                # frames made up, where there is no camera
    python -m examples.camera_loop FOLDER --frames x.npy # frames [num_frames, height, width, 3]

FOLDER is a saved pipeline with one picture as its input. The loop never waits for a result before
the next frame goes in, so all segments have work; where frames come faster than the pipeline takes
them, the oldest one that waits is dropped, because a camera's newest picture is what counts.
"""

from __future__ import annotations

import argparse
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import respect_tf


def main(arguments: list[str] | None = None) -> int:
    """Run the loop; the number of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--frames", help="an .npy file instead of made-up frames")
    parser.add_argument("--count", type=int, default=100, help="of made-up frames")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    given = parser.parse_args(arguments)
    pipeline = respect_tf.load(given.folder)
    (name, spec), *others = pipeline.inputs.items()
    if others or len(spec.shape) != 4:
        parser.error(f"expected a model with one picture as its input, not {list(pipeline.inputs)}")
    frames = np.load(given.frames) if given.frames else made_up(given.count, spec.shape[1:])
    waiting: queue.Queue[Any] = queue.Queue(1)
    watching = threading.Thread(target=watch, args=(frames, given.rate, waiting), daemon=True)
    watching.start()
    count, started = 0, time.perf_counter()
    with pipeline.runner(input_queue_size=1, verbose=0) as runner:
        feeding = threading.Thread(target=feed, args=(runner, name, waiting), daemon=True)
        feeding.start()
        while (result := runner.pop()) is not None:
            scores = next(iter(result.values())).reshape(-1)
            print(f"frame {count}: class {int(scores.argmax())}")
            count += 1
        feeding.join()
        seconds = time.perf_counter() - started
        for index, stage in enumerate(runner.statistics()):
            print(f"segment {index} on {', '.join(stage.devices)}: {stage.mean_ms:.2f} ms")
    print(f"{count} results in {seconds:.1f} s, {count / seconds:.1f} per second")
    return count


def made_up(count: int, shape: tuple[int, ...]) -> Iterator[Any]:
    """Frames of noise."""
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.uniform(0, 1, shape).astype(np.float32)


def watch(frames: Any, rate: float, waiting: queue.Queue[Any]) -> None:
    """What a camera's thread does: put each frame where only the newest one waits."""
    for frame in frames:
        drop_if_full(waiting)
        waiting.put(frame)
        time.sleep(1 / rate)
    waiting.put(None)


def drop_if_full(waiting: queue.Queue[Any]) -> None:
    """Make room for a newer frame."""
    if waiting.full():
        try:
            waiting.get_nowait()
        except queue.Empty:
            return  # it was taken just now


def feed(runner: Any, name: str, waiting: queue.Queue[Any]) -> None:
    """Push what waits, until the camera is off."""
    while (frame := waiting.get()) is not None:
        runner.push({name: frame})
    runner.push({})


if __name__ == "__main__":
    main()
