"""Finding Google's `edgetpu_compiler`, and compiling one model with it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from respect_tf._errors import ArgumentError, CompilerError, RespectError
from respect_tf._files import read_regular
from respect_tf.compile._compiled_checks import check_compiled
from respect_tf.compile._log import CompilerLog, Failure, FailureKind, read_log
from respect_tf.compile._process import ProgramRun, run_program

PROGRAM = "edgetpu_compiler"
ENVIRONMENT_VARIABLE = "EDGETPU_COMPILER"
DOWNLOAD = "https://coral.ai/docs/edgetpu/compiler/"

# Releases 1 and 2 do not know the int8 models that TensorFlow writes today.
_OLDEST_RELEASE = 14
_TIMER_RELEASE = 16  # from here on the compiler has a time limit of its own
_VERSION_SECONDS = 60.0
_GRACE_SECONDS = 10.0  # for the compiler to say itself that its time is over
# No number of it has had more than nine digits.
_VERSION = re.compile(r"Edge TPU Compiler version (\d{1,12}(?:\.\d{1,12}){0,7})(?![\d.])", re.ASCII)
_MOST_MODEL_BYTES = 2**31  # FlatBuffers end there
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

# What may pass when the same command runs again: the compiler crashes at random.
_RANDOM: set[FailureKind] = {"internal", "crash", "silent", "bad-result"}


@dataclasses.dataclass(frozen=True)
class Compiler:
    """An `edgetpu_compiler` that runs on this machine.

    Attributes:
        path: The program.
        version: What it says of itself, for example `"16.0.384591198"`.
    """

    path: Path
    version: str

    @property
    def release(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])


@dataclasses.dataclass(frozen=True)
class CompileResult:
    """What became of one model.

    Attributes:
        content: The compiled model; None if it failed.
        printed: What the compiler printed the last time.
        log: The same as values; None if it was stopped, or printed what is in no known format.
        failure: Why it failed; None if it did not.
        exit_code: The compiler's exit code; None if it was stopped.
        attempts: How often it was run.
        seconds: How long it ran, all attempts together.
    """

    content: bytes | None = dataclasses.field(repr=False)
    printed: str = dataclasses.field(repr=False)
    log: CompilerLog | None
    failure: Failure | None
    exit_code: int | None
    attempts: int
    seconds: float


def find_compiler(path: str | os.PathLike[str] | None = None) -> Compiler | None:
    """Find `edgetpu_compiler` and ask for its version.

    Args:
        path: The program. If left out, the environment variable `EDGETPU_COMPILER` names it; if
            that is not set either, it is looked for in `PATH`.

    Returns:
        The compiler; None if none was named and none is in `PATH`.

    Raises:
        CompilerError: The program that was named does not exist, or what was found does not run
            here, is another program, or is too old.
    """
    named, origin = (path, "compiler=") if path is not None else _from_environment()
    if named is None:
        found = shutil.which(PROGRAM)
        return None if found is None else _checked(Path(found).absolute())
    # Not `Path`: it would turn "./name" into "name", which is looked for in PATH.
    found = shutil.which(os.path.expanduser(os.fspath(named)))  # noqa: PTH111
    if found is None:
        raise CompilerError(
            f"There is no program '{os.fspath(named)}', which {origin} names as the compiler. "
            f"Expected the path of {PROGRAM}, a file that may be executed. See {DOWNLOAD}."
        )
    return _checked(Path(found).absolute())


def require_compiler(path: str | os.PathLike[str] | None = None) -> Compiler:
    """The same as `find_compiler`, for those who cannot do without one.

    Raises:
        CompilerError: There is none, or it is unfit.
    """
    compiler = find_compiler(path)
    if compiler is None:
        raise CompilerError(
            f"Google's {PROGRAM} was not found: not in PATH, and the environment variable "
            f"{ENVIRONMENT_VARIABLE} is not set. It exists for x86-64 Linux only; see {DOWNLOAD}. "
            "On any other machine, save the pipeline: the folder holds the commands and a "
            "Dockerfile to compile it elsewhere."
        )
    return compiler


def compile_model(
    content: bytes,
    compiler: Compiler,
    *,
    name: str = "model",
    timeout: float = 180.0,
    retries: int = 3,
    min_runtime_version: int | None = None,
    stop: threading.Event | None = None,
) -> CompileResult:
    """Compile one model, in a folder of its own that is gone afterwards.

    Args:
        content: The bytes of a .tflite model.
        compiler: The compiler.
        name: Base name of the model's file, which the log repeats.
        timeout: Seconds for each attempt.
        retries: Further attempts after failures that come and go: internal errors and crashes.
        min_runtime_version: The oldest runtime that has to run it; None for the compiler's choice.
        stop: Once set, everything stops at once.

    Raises:
        ArgumentError: A number is out of range.
        CompilerError: The compiler cannot be started.
    """
    check_limits(timeout, retries)
    file_name = name if _SAFE_NAME.fullmatch(name) else "model"
    options = ["--show_operations", "--out_dir", "."]
    if compiler.release >= _TIMER_RELEASE:
        options += ["--timeout_sec", str(math.ceil(timeout))]
    if min_runtime_version is not None:
        options += ["--min_runtime_version", str(min_runtime_version)]
    grace = _GRACE_SECONDS if compiler.release >= _TIMER_RELEASE else 0.0
    command = [str(compiler.path), *options, f"{file_name}.tflite"]
    seconds, attempts = 0.0, 0
    while True:
        with _temporary_folder() as folder:
            try:
                (folder / f"{file_name}.tflite").write_bytes(content)
            except OSError as error:
                raise _no_room(error) from error
            try:
                run = run_program(command, folder, timeout=timeout + grace, stop=stop)
            except OSError as error:
                raise _cannot_run(compiler.path, error) from error
            compiled = None
            with contextlib.suppress(OSError):  # none, a link or a pipe: there is no result
                made = folder / f"{file_name}_edgetpu.tflite"
                compiled = read_regular(made, most=_MOST_MODEL_BYTES)
        seconds, attempts = seconds + run.seconds, attempts + 1
        log = None if run.exit_code is None else read_log(run.text)
        failure = _failure(run, log, compiled, content, timeout=timeout)
        if failure is None or failure.kind not in _RANDOM or attempts > retries:
            break
    return CompileResult(
        content=compiled if failure is None else None,
        printed=run.text,
        log=log,
        failure=failure,
        exit_code=run.exit_code,
        attempts=attempts,
        seconds=seconds,
    )


def check_limits(timeout: float, retries: int) -> None:
    """Check what bounds an attempt.

    Raises:
        ArgumentError: A number is out of range.
    """
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout < math.inf:
        raise ArgumentError(f"timeout must be seconds, more than 0. Received: {timeout!r}.")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ArgumentError(f"retries must be a whole number, 0 or more. Received: {retries!r}.")


def _from_environment() -> tuple[str | None, str]:
    return os.environ.get(ENVIRONMENT_VARIABLE) or None, ENVIRONMENT_VARIABLE


def _checked(path: Path) -> Compiler:
    with _temporary_folder() as folder:
        try:
            run = run_program([str(path), "--version"], folder, timeout=_VERSION_SECONDS)
        except OSError as error:
            raise _cannot_run(path, error) from error
    found = _VERSION.search(run.text)
    if run.exit_code != 0 or found is None:
        raise CompilerError(
            f"'{path} --version' does not answer as {PROGRAM} does. Expected exit code 0 and 'Edge "
            f"TPU Compiler version 16.0.384591198' or the like. Received: {_ending(run)}, "
            f"{_last_lines(run.text)}."
        )
    compiler = Compiler(path, found[1])
    if compiler.release < _OLDEST_RELEASE:
        raise CompilerError(
            f"'{path}' is version {compiler.version}. Expected {_OLDEST_RELEASE} or newer: older "
            f"ones refuse the int8 models that TensorFlow writes. Install 16.0, see {DOWNLOAD}."
        )
    return compiler


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, whatever is in it by then.

    Raises:
        CompilerError: There is no place for one.
    """
    try:
        folder = tempfile.mkdtemp(prefix="respect_tf_compile_")
    except OSError as error:
        raise _no_room(error) from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(error: OSError) -> CompilerError:
    return CompilerError(
        f"The compiler needs a folder for temporary files, and none can be written: "
        f"{error.strerror or error}. Set TMPDIR to a folder with some room."
    )


def _cannot_run(path: Path, error: OSError) -> CompilerError:
    return CompilerError(
        f"'{path}' cannot be started: {error.strerror or error}. {PROGRAM} exists for x86-64 Linux "
        f"only; this is {os.uname().sysname} {os.uname().machine}. Compile on such a machine, "
        "with the commands or the Dockerfile of the saved pipeline."
    )


def _failure(
    run: ProgramRun,
    log: CompilerLog | None,
    compiled: bytes | None,
    content: bytes,
    *,
    timeout: float,
) -> Failure | None:
    """Why an attempt failed; None if it did not."""
    if run.exit_code is None:
        return Failure("timeout", f"No result after {timeout:g} seconds.")
    told = None if log is None or not log.failures else log.failures[0]
    if run.exit_code != 0:
        if told is not None and told.kind != "silent":
            return told
        died = run.exit_code < 0 or run.exit_code > 128
        return Failure("crash" if died else "other", f"{_ending(run)}, {_last_lines(run.text)}")
    if compiled is None:
        return told or Failure("silent", f"No result, {_last_lines(run.text)}")
    if told is not None:
        return told
    try:
        check_compiled(compiled, content, log)
    except RespectError as error:
        return Failure("bad-result", str(error))
    return None


def _ending(run: ProgramRun) -> str:
    if run.exit_code is None:
        return "stopped"
    number = -run.exit_code if run.exit_code < 0 else run.exit_code - 128
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"exit code {run.exit_code}"


def _last_lines(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return "which printed " + (repr(" / ".join(lines[-3:])[-500:]) if lines else "nothing")
