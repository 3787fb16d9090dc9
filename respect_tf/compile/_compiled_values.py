"""What a compiled model holds: its parts for the device, their programs, sizes and transfers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from respect_tf.compile._transfers import Transfers

ExecutableKind = Literal["stand-alone", "parameter-caching", "execution-only"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """An input or output of an executable.

    Attributes:
        name: Name of the tensor.
        dtype: numpy's name. int8 tensors of a model are computed as uint8 inside the device.
        shape: Height, width, channels; or the dimensions that the package gives.
        num_bytes: Size for one inference, padding included.
        scale: Real units per step.
        zero_point: Stored value that means 0.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int
    scale: float
    zero_point: int


@dataclasses.dataclass(frozen=True)
class Executable:
    """A program for the Edge TPU.

    Attributes:
        kind: `"parameter-caching"` loads parameters into the device once; `"execution-only"`
            relies on it; `"stand-alone"` needs no other.
        name: Its name, often empty.
        chip: The chip it was compiled for.
        batch_size: Inputs processed at once.
        parameter_bytes: Parameters that it sends to the device whenever it runs.
        instruction_bytes: All its instructions.
        scratch_bytes: Scratch memory that it needs on the host.
        caching_token: Executables of one token share the device's memory for parameters.
        inputs: What it reads.
        outputs: What it makes.
        transfers: What it moves whenever it runs; None where the file does not list it.
    """

    kind: ExecutableKind
    name: str
    chip: str
    batch_size: int
    parameter_bytes: int
    instruction_bytes: int
    scratch_bytes: int
    caching_token: int
    inputs: tuple[Layer, ...]
    outputs: tuple[Layer, ...]
    transfers: Transfers | None


@dataclasses.dataclass(frozen=True)
class EdgeTpuOp:
    """One `edgetpu-custom-op`: a part of the model that runs on the device as a whole.

    Attributes:
        op: Its index among the ops of the compiled model.
        compiler_version: The compiler's build number, the one behind the second dot of the version
            that `edgetpu_compiler` prints; None where it did not record it, as most builds.
        min_runtime_version: The oldest runtime that runs it.
        model_identifier: An identifier that the user gave; usually empty.
        executables: Its programs.
    """

    op: int
    compiler_version: str | None
    min_runtime_version: int
    model_identifier: str
    executables: tuple[Executable, ...]

    @property
    def cached_bytes(self) -> int:
        """Parameters that stay on the device."""
        return self._parameters("parameter-caching")

    @property
    def streamed_bytes(self) -> int:
        """Parameters that are brought from the host at every inference."""
        return self._parameters("execution-only") + self._parameters("stand-alone")

    @property
    def instruction_bytes(self) -> int:
        """Instructions of all its executables."""
        return sum(executable.instruction_bytes for executable in self.executables)

    @property
    def run_instruction_bytes(self) -> int:
        """Instructions that are sent at every inference: all but those that load parameters."""
        return sum(executable.instruction_bytes for executable in self._running)

    @property
    def input_bytes(self) -> int | None:
        """What enters the device at every inference; None where the file does not say."""
        return _total([None if run is None else run.input_bytes for run in self._transfers])

    @property
    def output_bytes(self) -> int | None:
        """What leaves the device at every inference; None where the file does not say."""
        return _total([None if run is None else run.output_bytes for run in self._transfers])

    @property
    def _running(self) -> list[Executable]:
        """The executables that run at every inference."""
        return [e for e in self.executables if e.kind != "parameter-caching"]

    @property
    def _transfers(self) -> list[Transfers | None]:
        """What each of them moves, None where the file does not list all of it."""
        found = [executable.transfers for executable in self._running]
        return [run if run is not None and run.complete else None for run in found]

    def _parameters(self, kind: ExecutableKind) -> int:
        return sum(e.parameter_bytes for e in self.executables if e.kind == kind)


@dataclasses.dataclass(frozen=True)
class CompiledModel:
    """What a compiled model holds.

    Attributes:
        edge_tpu_ops: The parts that run on the device; more than one only where the compiler was
            asked for several subgraphs.
        cpu_ops: Op type -> how many stay on the CPU, the most frequent first.
    """

    edge_tpu_ops: tuple[EdgeTpuOp, ...]
    cpu_ops: dict[str, int]

    @property
    def cached_bytes(self) -> int:
        """Parameters that stay on the device."""
        return sum(op.cached_bytes for op in self.edge_tpu_ops)

    @property
    def streamed_bytes(self) -> int:
        """Parameters that are brought from the host at every inference."""
        return sum(op.streamed_bytes for op in self.edge_tpu_ops)

    @property
    def instruction_bytes(self) -> int:
        """Instructions of all executables."""
        return sum(op.instruction_bytes for op in self.edge_tpu_ops)

    @property
    def run_instruction_bytes(self) -> int:
        """Instructions that are sent at every inference."""
        return sum(op.run_instruction_bytes for op in self.edge_tpu_ops)

    @property
    def input_bytes(self) -> int | None:
        """What enters the device at every inference, from the host or from ops on the CPU.

        None where the file does not list its transfers.
        """
        return _total([op.input_bytes for op in self.edge_tpu_ops])

    @property
    def output_bytes(self) -> int | None:
        """What leaves the device at every inference, for the host or for ops on the CPU.

        None where the file does not list its transfers.
        """
        return _total([op.output_bytes for op in self.edge_tpu_ops])

    @property
    def min_runtime_version(self) -> int:
        """The oldest runtime that runs it."""
        return max(op.min_runtime_version for op in self.edge_tpu_ops)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers."""
        return dataclasses.asdict(self) | {
            "cached_bytes": self.cached_bytes,
            "streamed_bytes": self.streamed_bytes,
            "instruction_bytes": self.instruction_bytes,
            "run_instruction_bytes": self.run_instruction_bytes,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "min_runtime_version": self.min_runtime_version,
        }


def _total(parts: Sequence[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
