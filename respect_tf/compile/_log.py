"""What `edgetpu_compiler` prints, as values.

The formats of all releases from 1.0 to 16.0, of the terminal and of the `*_edgetpu.log` file. Sizes
are printed with two decimals, so their bytes are right to half a hundredth of the unit.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal

from respect_tf._errors import CompilerError

MAPPED = "Mapped to Edge TPU"

FailureKind = Literal[
    "not-quantized",
    "unreadable",
    "interpreter",
    "large-activations",
    "internal",
    "crash",
    "timeout",
    "silent",
    "bad-result",
    "other",
]

_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s?(B|KiB|MiB|GiB)")
_VERSION = re.compile(r"Edge TPU Compiler version (\d+(?:\.\d+)+)")
_OP_ROW = re.compile(r"(\S+)\s+(\d{1,9})\s+(\S.*)")
_OP_HEADER = re.compile(r"Operator\s+Count\s+Status")
_COMPILED = re.compile(r"Models? compiled successfully in (\d{1,12}) ms[.!]")
_TIMER = re.compile(r"Started a compilation timeout timer of (\d{1,9}) seconds\.")

# Text that tells a kind of failure, the most telling first.
_FAILURES: tuple[tuple[str, FailureKind], ...] = (
    ("Model not quantized", "not-quantized"),
    ("Model could not be parsed", "unreadable"),
    ("Compilation failed due to large activation tensors", "large-activations"),
    ("Model failed in Tflite interpreter", "interpreter"),
    ("Compilation timeout", "timeout"),
    ("Internal compiler error", "internal"),
    ("Segmentation fault", "crash"),
    ("libc++abi: terminating", "crash"),
    ("Aborted", "crash"),
)
_ENDINGS = ("Compilation failed", "Invalid model")
# Lines that say nothing which another line does not.
_CHATTER = re.compile(
    r"Model successfully compiled but not all operations are supported.*"
    r"|See the operation log file for individual operation details\."
    r"|Compilation child process completed within timeout period\."
    r"|Compilation succeeded!"
    r"|Searching for valid delegate with step \d+"
    r"|Try to compile segment with \d+( ops)?"
    r"|Intermediate tensors: .*"
    r"|(?:\S*/)?edgetpu_compiler( .*)?"
)


@dataclasses.dataclass(frozen=True)
class OpStatus:
    """A row of the table of operations.

    Attributes:
        op_type: As TFLite's schema spells it.
        count: How many ops of the type have the status.
        status: The compiler's words.
    """

    op_type: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether they run on the Edge TPU."""
        return self.status == MAPPED


@dataclasses.dataclass(frozen=True)
class ModelLog:
    """What a log says of one compiled model. None where it says nothing.

    Attributes:
        input_file: The model that was compiled.
        input_bytes: Its size.
        output_file: The compiled model.
        output_bytes: Its size.
        on_chip_used_bytes: Memory on the device that cached parameters take.
        on_chip_remaining_bytes: Memory that is left for more; printed from release 14 on.
        on_chip_available_bytes: Memory that there is for parameters, used or not; printed by
            releases 1 and 2.
        off_chip_bytes: Parameters that are streamed from the host at every inference.
        num_subgraphs: Parts of the model that run on the device.
        num_ops: Ops of the model.
        num_edge_tpu_ops: Ops that run on the device; printed where not all do.
        num_cpu_ops: Ops that run on the CPU; printed where there are any.
        operation_log: The file with the table of operations.
        ops: The table of operations; empty where it was not asked for.
    """

    input_file: str
    output_file: str | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None
    on_chip_used_bytes: int | None = None
    on_chip_remaining_bytes: int | None = None
    on_chip_available_bytes: int | None = None
    off_chip_bytes: int | None = None
    num_subgraphs: int | None = None
    num_ops: int | None = None
    num_edge_tpu_ops: int | None = None
    num_cpu_ops: int | None = None
    operation_log: str | None = None
    ops: tuple[OpStatus, ...] = ()

    @property
    def room_bytes(self) -> int | None:
        """Memory on the device for parameters, used or not."""
        if self.on_chip_available_bytes is not None:
            return self.on_chip_available_bytes
        if self.on_chip_used_bytes is None or self.on_chip_remaining_bytes is None:
            return None
        return self.on_chip_used_bytes + self.on_chip_remaining_bytes


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a model was not compiled.

    Attributes:
        kind: What went wrong, in one word.
        message: The compiler's words, or what happened to its process.
    """

    kind: FailureKind
    message: str


@dataclasses.dataclass(frozen=True)
class CompilerLog:
    """What one run of the compiler printed.

    Attributes:
        version: For example `"16.0.384591198"`; None where it crashed before printing it.
        models: What was compiled.
        failures: What was not; `"silent"` where there is neither a model nor a reason.
        compile_ms: Time of the first compilation in ms, where one is printed.
        timeout_seconds: The compiler's own time limit, where it prints one.
        other_lines: Lines that are in no format known here.
    """

    version: str | None
    models: tuple[ModelLog, ...]
    failures: tuple[Failure, ...]
    compile_ms: int | None = None
    timeout_seconds: int | None = None
    other_lines: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers."""
        return dataclasses.asdict(self)


def parse_log(text: str) -> CompilerLog:
    """Parse what one run of `edgetpu_compiler` printed, or its `*_edgetpu.log` file.

    Args:
        text: Everything it printed, to standard output and standard error.

    Raises:
        CompilerError: This is no output of the compiler, or one of several runs, or a figure in it
            is in no known format.
    """
    parser = _Parser()
    for number, line in enumerate(text.splitlines(), 1):
        parser.read(line.strip(), number)
    return parser.result()


def read_log(text: str) -> CompilerLog | None:
    """The same, for those who can do without it: None if it cannot be parsed."""
    try:
        return parse_log(text)
    except CompilerError:
        return None  # a release whose words are not known here; its model may be good all the same


class _Parser:
    """Reads line by line; sizes and counts belong to the model that was named last."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._models: list[dict[str, Any]] = []
        self._failures: list[Failure] = []
        self._errors: list[str] = []  # reasons that were printed ahead of a failure
        self._closed = False  # whether the failure that a closing line ends has been recorded
        self._compile_ms: int | None = None
        self._timeout: int | None = None
        self._in_table = False
        self._other: list[str] = []
        self._lines = 0

    def read(self, line: str, number: int) -> None:
        if not line:
            return
        self._lines += 1
        if match := _VERSION.fullmatch(line):
            if self._version is not None:
                raise CompilerError(
                    f"Line {number} of the compiler's log begins a second run. Expected the output "
                    "of one run; parse each by itself."
                )
            self._version = match[1]
        elif _OP_HEADER.fullmatch(line) and self._models:
            self._in_table = True
        elif match := _TIMER.fullmatch(line):
            self._timeout = int(match[1])
        elif match := _COMPILED.fullmatch(line):
            self._in_table = False
            self._compile_ms = int(match[1]) if self._compile_ms is None else self._compile_ms
        elif _CHATTER.fullmatch(line) or self._read_field(line, number) or self._read_failure(line):
            self._in_table = False
        elif self._in_table and (match := _OP_ROW.fullmatch(line)):
            self._models[-1]["ops"].append(OpStatus(match[1], int(match[2]), match[3]))
        else:
            self._other.append(line)

    def _read_failure(self, line: str) -> bool:
        if line.startswith("ERROR:"):
            self._errors.append(line.removeprefix("ERROR:").strip())
            return True
        kinds = [kind for words, kind in _FAILURES if words in line]
        if kinds:
            self._fail(kinds[0], line)
            return True
        if line.startswith(_ENDINGS):
            # "Compilation failed!" closes a failure whose reason came before, if any did.
            told = line.removeprefix("Compilation failed").strip(" :!")
            if line.startswith("Compilation failed:"):
                self._fail("other", line)
            elif line.startswith("Invalid model"):
                self._errors.append(line)
            elif not self._closed:
                self._fail("other", told or line)
            self._closed = False
            return True
        return False

    def _fail(self, kind: FailureKind, line: str) -> None:
        reason = line.removeprefix("Compilation failed:").strip()
        self._failures.append(Failure(kind, " ".join([*self._errors, reason])))
        self._errors.clear()
        self._closed = True

    def _read_field(self, line: str, number: int) -> bool:
        label, colon, value = line.partition(":")
        if not colon or label not in _FIELDS:
            return False
        name, read = _FIELDS[label]
        if name == "input_file":
            self._models.append({"input_file": value.strip(), "ops": []})
            return True
        if not self._models:
            raise CompilerError(
                f"Line {number} of the compiler's log, {line!r}, belongs to no model. Expected a "
                "line 'Input model: ...' before it."
            )
        try:
            self._models[-1][name] = read(value.strip())
        except ValueError:
            raise CompilerError(
                f"Line {number} of the compiler's log gives '{label}' in an unknown form. Expected "
                f"{_EXPECTED[read]}. Received: {value.strip()!r}."
            ) from None
        return True

    def result(self) -> CompilerLog:
        nothing = self._version is None and not self._models and not self._failures
        if nothing:
            first = self._other[0] if self._other else ""
            raise CompilerError(
                "This is no output of edgetpu_compiler. Expected a line 'Edge TPU Compiler version "
                f"...'. Received {self._lines} lines"
                + (f", the first: {first[:200]!r}." if first else ".")
            )
        failures = list(self._failures)
        other = list(self._other)
        if self._models:
            other += self._errors  # TFLite complained, and yet the model was compiled
        elif not failures:
            silent = Failure("silent", "The compiler gave neither a result nor a reason.")
            failures.append(Failure("other", " ".join(self._errors)) if self._errors else silent)
        return CompilerLog(
            version=self._version,
            models=tuple(ModelLog(**{**m, "ops": tuple(m["ops"])}) for m in self._models),
            failures=tuple(failures),
            compile_ms=self._compile_ms,
            timeout_seconds=self._timeout,
            other_lines=tuple(other),
        )


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _UNITS[match[2]])


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


_EXPECTED: dict[Any, str] = {
    _bytes: "a size such as '6.86MiB'",
    _count: "a whole number",
    str: "a file",
}
# Label -> attribute of `ModelLog`, and how its value is read.
_FIELDS: dict[str, tuple[str, Any]] = {
    "Input model": ("input_file", str),
    "Input": ("input_file", str),
    "Input size": ("input_bytes", _bytes),
    "Output model": ("output_file", str),
    "Output": ("output_file", str),
    "Output size": ("output_bytes", _bytes),
    "On-chip memory used for caching model parameters": ("on_chip_used_bytes", _bytes),
    "On-chip memory remaining for caching model parameters": ("on_chip_remaining_bytes", _bytes),
    "On-chip memory available for caching model parameters": ("on_chip_available_bytes", _bytes),
    "Off-chip memory used for streaming uncached model parameters": ("off_chip_bytes", _bytes),
    "Number of Edge TPU subgraphs": ("num_subgraphs", _count),
    "Total number of operations": ("num_ops", _count),
    "Number of operations that will run on Edge TPU": ("num_edge_tpu_ops", _count),
    "Number of operations that will run on CPU": ("num_cpu_ops", _count),
    "Operation log": ("operation_log", str),
}
