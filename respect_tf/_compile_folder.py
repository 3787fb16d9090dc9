"""Compiling the segments of a saved folder, where the compiler is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from respect_tf._errors import CompilerError, RespectError
from respect_tf._files import read_regular
from respect_tf._folder import update_folder
from respect_tf._folder_reading import MOST_FILE_BYTES
from respect_tf._folder_repair import repair_folder
from respect_tf._manifest import pipeline_files
from respect_tf._manifest_reading import read_pipeline
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, report
from respect_tf.compile import (
    MOST_LOG_BYTES,
    Compilation,
    check_compiled,
    compile_segments,
    read_log,
    require_compiler,
)
from respect_tf.segmentation import Segment


def compile_folder(
    folder: str | os.PathLike[str],
    compiler: str | os.PathLike[str] | None = None,
    *,
    timeout: float = 180.0,
    retries: int = 3,
    verbose: Verbosity = "auto",
) -> tuple[Pipeline, Compilation | None]:
    """Compile the segments of a saved folder that are not compiled yet, and add the results.

    Compiled models that lie in the folder already, because its `compile.sh` made them, are checked
    and taken as they are; the compiler is needed for the others only. Segments that were compiled
    are added even if another one fails.

    Args:
        folder: A folder that `Pipeline.save` wrote.
        compiler: The program; found as `respect_tf.compile.find_compiler` does if left out.
        timeout: Seconds for each attempt to compile a segment.
        retries: Further attempts after failures that come and go: internal errors and crashes.
        verbose: 0 is silence.

    Returns:
        The pipeline with the compiled segments, and what the compiler did; None if it had nothing
        to do.

    Raises:
        ArgumentError: A number is out of range.
        SavedPipelineError: There is no pipeline in the folder, or it cannot be written.
        CompilerError: There is no compiler, a segment could not be compiled, or a compiled model in
            the folder was not made of its segment.
    """
    path = Path(folder)
    repair_folder(path)
    before = read_pipeline(path)
    segments = {segment.index: _adopted(path, segment, verbose) for segment in before.segments}
    missing = [s for s in segments.values() if s.compiled is None and not s.on_cpu]
    compilation = None
    if missing:
        compilation = compile_segments(
            missing, require_compiler(compiler), timeout=timeout, retries=retries, verbose=verbose
        )
        segments |= {segment.index: segment for segment in compilation.segments}
    after = before.with_compiled(tuple(segments.values()))
    update_folder(path, pipeline_files(after))
    if compilation is not None:
        compilation.check()
    return after, compilation


def _adopted(folder: Path, segment: Segment, verbose: Verbosity) -> Segment:
    """A segment with the compiled model that lies in the folder; as it is if there is none."""
    path = folder / segment.compiled_file
    if segment.compiled is not None or segment.on_cpu or not os.path.lexists(path):
        return segment
    try:
        compiled = read_regular(path, most=MOST_FILE_BYTES)
        log, printed = path.with_suffix(".log"), None
        with contextlib.suppress(FileNotFoundError):
            printed = read_regular(log, most=MOST_LOG_BYTES).decode("utf-8", "backslashreplace")
        check_compiled(compiled, segment.content, None if printed is None else read_log(printed))
    except (RespectError, OSError) as error:
        raise CompilerError(
            f"'{path}' lies in the folder of the saved pipeline, but cannot be used: "
            f"{getattr(error, 'strerror', None) or error} "
            "Remove it, and compile again."
        ) from error
    report(f"{path.name} was compiled before", verbose=verbose)
    return dataclasses.replace(segment, compiled=compiled, compile_log=printed)
