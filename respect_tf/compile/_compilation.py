"""Compiling the segments of a pipeline, each by itself."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from respect_tf._errors import ArgumentError, CompilerError
from respect_tf._reporting import Verbosity, progress, tell
from respect_tf.compile._compiled_model import read_compiled
from respect_tf.compile._compiler import (
    Compiler,
    CompileResult,
    check_limits,
    compile_model,
)
from respect_tf.compile._log import CompilerLog, ModelLog, read_log
from respect_tf.compile._narrow import FailingOps, narrow
from respect_tf.compile._process import Stopped
from respect_tf.segmentation import Segment


@dataclasses.dataclass(frozen=True)
class SegmentCompilation:
    """What became of one segment.

    Attributes:
        segment: The segment, with the compiled model in it if it was compiled.
        result: How the compiler ended; None for a CPU stage, which is never compiled.
        failing_ops: The ops that it fails on; None if it did not fail, or they were not found.
    """

    segment: Segment
    result: CompileResult | None
    failing_ops: FailingOps | None = None

    @property
    def log(self) -> ModelLog | None:
        """The figures that the compiler printed for the segment; None where there are none."""
        return None if self.result is None else _only_model(self.result.log)

    @property
    def streamed_bytes(self) -> int | None:
        """Parameters that the segment streams; None if it was not compiled, though it should."""
        if self.result is None:
            return 0
        if self.log is not None and self.log.off_chip_bytes is not None:
            return self.log.off_chip_bytes
        if self.result.content is None:
            return None
        compiled = read_compiled(self.result.content)
        return 0 if compiled is None else compiled.streamed_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        result = self.result
        if result is None:
            return {"segment": self.segment.index, "compiled": False, "on_cpu": True}
        return {
            "segment": self.segment.index,
            "compiled": result.content is not None,
            "on_cpu": False,
            "attempts": result.attempts,
            "seconds": result.seconds,
            "exit_code": result.exit_code,
            "failure": None if result.failure is None else dataclasses.asdict(result.failure),
            "failing_ops": None
            if self.failing_ops is None
            else dataclasses.asdict(self.failing_ops),
            "log": None if self.log is None else dataclasses.asdict(self.log),
        }


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What became of all segments.

    Attributes:
        compiler: The compiler.
        results: One per segment, in their order.
    """

    compiler: Compiler
    results: tuple[SegmentCompilation, ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, with the compiled models in those that were compiled."""
        return tuple(result.segment for result in self.results)

    @property
    def failed(self) -> tuple[SegmentCompilation, ...]:
        """The segments that were not compiled."""
        return tuple(
            found
            for found in self.results
            if found.result is not None and found.result.failure is not None
        )

    @property
    def streamed_bytes(self) -> tuple[int | None, ...]:
        """Parameters that each segment streams; None for those that were not compiled.

        By the log, or by the compiled model itself where that cannot be read.
        """
        return tuple(result.streamed_bytes for result in self.results)

    def describe_failures(self) -> str:
        """What failed, with the compiler's words and the ops; empty if nothing did."""
        return " ".join(_described(failed) for failed in self.failed)

    def check(self) -> None:
        """Check that all segments were compiled.

        Raises:
            CompilerError: One was not; the message says which, why, and on which ops.
        """
        if self.failed:
            total = sum(found.result is not None for found in self.results)
            raise CompilerError(
                f"{len(self.failed)} of {total} segments could not be compiled with "
                f"edgetpu_compiler {self.compiler.version}. {self.describe_failures()}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "compiler_version": self.compiler.version,
            "segments": [result.to_dict() for result in self.results],
        }


def logged_figures(segment: Segment) -> ModelLog | None:
    """The figures in the log of a compiled segment; None where there are none.

    Args:
        segment: A segment, fresh from the compiler or of a loaded pipeline.
    """
    if segment.compile_log is None:
        return None
    return _only_model(read_log(segment.compile_log))


def _only_model(log: CompilerLog | None) -> ModelLog | None:
    return log.models[0] if log is not None and len(log.models) == 1 else None


def compile_segments(
    segments: Sequence[Segment],
    compiler: Compiler,
    *,
    timeout: float = 180.0,
    retries: int = 3,
    min_runtime_version: int | None = None,
    num_workers: int | None = None,
    narrow_seconds: float = 600.0,
    verbose: Verbosity = "auto",
) -> Compilation:
    """Compile segments, each by itself and several at once.

    A segment that fails does not keep the others from being compiled; see `Compilation.check`. A
    CPU stage stays as it is.

    Args:
        segments: The segments.
        compiler: The compiler.
        timeout: Seconds for each attempt.
        retries: Further attempts after failures that come and go: internal errors and crashes.
        min_runtime_version: The oldest runtime that has to run them.
        num_workers: Segments compiled at once; as many as there are processors if left out.
        narrow_seconds: Seconds to spend on finding the ops that a segment fails on; 0 for none.
        verbose: 0 is silence.

    Raises:
        ArgumentError: A number is out of range.
        CompilerError: The compiler cannot be started.
    """
    check_limits(timeout, retries)
    if num_workers is not None and num_workers < 1:
        raise ArgumentError(f"num_workers must be 1 or more. Received: {num_workers!r}.")
    if not narrow_seconds >= 0:
        raise ArgumentError(f"narrow_seconds must be 0 or more. Received: {narrow_seconds!r}.")
    stop = threading.Event()

    def attempt(content: bytes, name: str) -> CompileResult:
        return compile_model(
            content,
            compiler,
            name=name,
            timeout=timeout,
            retries=retries,
            min_runtime_version=min_runtime_version,
            stop=stop,
        )

    def one(segment: Segment) -> SegmentCompilation:
        if segment.on_cpu:
            return SegmentCompilation(segment, None)
        result = attempt(segment.content, segment.name)
        compiled = dataclasses.replace(
            segment,
            compiled=result.content,
            compile_log=None if result.content is None else result.printed,
        )
        if result.failure is None or narrow_seconds == 0:
            return SegmentCompilation(compiled, result)
        deadline = time.monotonic() + narrow_seconds

        def probe(content: bytes) -> CompileResult | None:
            return attempt(content, "part") if time.monotonic() < deadline else None

        return SegmentCompilation(compiled, result, narrow(segment, result.failure.kind, probe))

    workers = num_workers or os.cpu_count() or 1
    label = f"Compiling {sum(not segment.on_cpu for segment in segments)} segments"
    with progress(label, verbose=verbose), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        tasks = [pool.submit(one, segment) for segment in segments]
        try:
            results = tuple(task.result() for task in _as_they_end(tasks))
        except BaseException:
            # Ctrl-C, or a compiler that is gone: no program outlives this call.
            stop.set()
            for task in tasks:
                task.cancel()
            raise
    return Compilation(compiler, results)


def _as_they_end(
    tasks: Sequence[concurrent.futures.Future[SegmentCompilation]],
) -> Sequence[concurrent.futures.Future[SegmentCompilation]]:
    """The tasks in their order once all are done; the first error is raised as soon as it comes."""
    for done, task in enumerate(concurrent.futures.as_completed(tasks), 1):
        tell(f"compiling: {done} of {len(tasks)} segments")
        error = task.exception()
        if error is not None and not isinstance(error, Stopped):
            raise error
    return tasks


def _described(failed: SegmentCompilation) -> str:
    if failed.result is None or failed.result.failure is None:
        return ""
    failure = failed.result.failure
    attempts = failed.result.attempts
    often = "" if attempts == 1 else f", {attempts} times"
    message = failure.message.rstrip(" .!")
    ops = "" if failed.failing_ops is None else f" The compiler fails on {failed.failing_ops}."
    remedy = _REMEDIES.get(failure.kind, "")
    return f"Segment {failed.segment.index} ({failure.kind}{often}): {message}.{ops}{remedy}"


_REMEDIES = {
    "not-quantized": " Convert with strict=True, which lists the tensors that are not 8 bit.",
    "unreadable": " Convert with an older TensorFlow, whose op versions the compiler knows.",
    "large-activations": " Use a smaller input, or more segments.",
    "timeout": " Pass a larger timeout, or use more segments.",
}
