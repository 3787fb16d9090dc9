"""Compiling as a part of `convert`: if there is a compiler, and cutting again where it helps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

from respect_tf._errors import ArgumentError, CompilerError
from respect_tf._reporting import Verbosity, report
from respect_tf.compile._compilation import compile_segments
from respect_tf.compile._compiler import Compiler, find_compiler, require_compiler
from respect_tf.compile._recut import CompiledCut, compile_and_recut
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import Segment

CompileMode = Literal["auto"] | bool


def resolve_compiler(mode: CompileMode, *, verbose: Verbosity = "auto") -> Compiler | None:
    """The compiler to use, before any work is spent that would be lost without it.

    Args:
        mode: `"auto"`: one if there is one; True: one, or an error; False: none.
        verbose: 0 is silence.

    Raises:
        ArgumentError: `mode` is none of these.
        CompilerError: `mode` is True, and there is no compiler, or it is unfit.
    """
    if mode is True:
        return require_compiler()
    if mode is False:
        return None
    if mode != "auto":
        raise ArgumentError(f'compile must be "auto", True or False. Received: {mode!r}.')
    try:
        compiler = find_compiler()
    except CompilerError as error:
        report(f"warning: segments stay uncompiled. {error}", verbose=verbose)
        return None
    if compiler is None:
        report(
            "edgetpu_compiler was not found, so segments stay uncompiled; the saved folder says "
            "how to compile them",
            verbose=verbose,
        )
    return compiler


def compile_cut(
    graph: OpGraph,
    schedule: Schedule,
    cut: Callable[[Schedule], Sequence[Segment]],
    *,
    compiler: Compiler,
    strict: bool,
    reschedule: Callable[[Sequence[float]], Schedule] | None = None,
    device: DeviceLike = "usb3",
    verbose: Verbosity = "auto",
) -> CompiledCut:
    """Compile a cut, cut again where the log asks for it, and tell the user what happened.

    Args:
        graph: The whole model's graph.
        schedule: The cut to begin with.
        cut: Makes the segments of a schedule.
        compiler: The compiler.
        strict: Whether a segment that cannot be compiled is an error.
        reschedule: Makes a schedule that keeps within so many parameter bytes of each stage; None
            for a cut that is not to be changed.
        device: The device that the prediction is for.
        verbose: 0 is silence.

    Raises:
        CompilerError: The compiler cannot be started, or `strict` and a segment failed.
    """
    found = compile_and_recut(
        graph,
        schedule,
        cut,
        compile_segments=functools.partial(compile_segments, compiler=compiler, verbose=verbose),
        reschedule=reschedule,
        device=device,
    )
    for line in found.describe():
        report(line, verbose=verbose)
    if strict:
        found.compilation.check()
    elif found.compilation.failed:
        failures = found.compilation.describe_failures()
        report(f"warning: not all segments were compiled. {failures}", verbose=verbose)
    return found
