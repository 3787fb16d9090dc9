"""All of some inputs through a runner."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy.typing as npt

from respect_tf._errors import RespectError
from respect_tf.run._pycoral_runner import PycoralRunner
from respect_tf.run._runner import PipelineRunner


def stream(
    runner: PipelineRunner | PycoralRunner, inputs: Iterable[Mapping[str, npt.ArrayLike]]
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Push inputs from a thread and yield the results, in order; ends the runner's stream.

    Args:
        runner: A runner that is used by nobody else.
        inputs: What to push, one after the other; may be endless.

    Raises:
        ArgumentError: An input does not fit; the results of those before it come first.
        RunnerError: A segment has failed; likewise.
        Exception: Whatever `inputs` raises; likewise.
    """
    failures: list[BaseException] = []
    stopped = threading.Event()

    def push() -> None:
        try:
            for tensors in inputs:
                if stopped.is_set():
                    break
                runner.push(tensors)
        except BaseException as error:  # raised below, in the thread that reads the results
            failures.append(error)
        with contextlib.suppress(RespectError):  # it has stopped already
            runner.push({})

    thread = threading.Thread(target=push, name="respect_tf inputs", daemon=True)
    thread.start()
    try:
        while (result := runner.pop()) is not None:
            yield result
    finally:
        stopped.set()
        if thread.is_alive():
            runner.close(discard=True)
        thread.join()
    if failures:
        raise failures[0]
