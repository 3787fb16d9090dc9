"""The stages of a pipeline, and what they say of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class LoadedModel(Protocol):
    """A segment that is ready to run, on a device or on the CPU."""

    device: str

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run once: an array per input in, an array per output out, both in the segment's order."""

    def close(self) -> None:
        """Give the device back; from another thread, end a run if that can be done."""


class PipelineFailedError(Exception):
    """A stage has failed, or takes longer than it may; the message names stage and device."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage as the threads see it.

    Attributes:
        name: How messages name it, for example "segment 2".
        inputs: Names of the tensors that it reads, in its order.
        outputs: Names of those that it makes, in its order.
        passed_on: Names that a later stage reads; of the last stage, its outputs.
        on_cpu: Whether it runs on the host and never on a device.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    passed_on: tuple[str, ...]
    on_cpu: bool = False

    def run(self, model: LoadedModel, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the next stage gets."""
        made = model.run([values[name] for name in self.inputs])
        known = {**values, **dict(zip(self.outputs, made))}
        return {name: known[name] for name in self.passed_on if name in known}


def make_stages(
    inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]], on_cpu: Sequence[bool]
) -> list[Stage]:
    """The stages of segments that hand tensors on by name.

    Args:
        inputs: Of each segment, the names of what it reads.
        outputs: Of each segment, the names of what it makes.
        on_cpu: Of each segment, whether it runs on the host.
    """
    stages = []
    for index in range(len(inputs)):
        later = {name for names in inputs[index + 1 :] for name in names}
        known = [name for names in (*inputs[:1], *outputs[: index + 1]) for name in names]
        passed_on = [name for name in dict.fromkeys(known) if name in later]
        if index == len(inputs) - 1:
            passed_on = list(outputs[index])
        stages.append(
            Stage(
                f"segment {index}",
                tuple(inputs[index]),
                tuple(outputs[index]),
                tuple(passed_on),
                bool(on_cpu[index]),
            )
        )
    return stages


@dataclasses.dataclass(frozen=True)
class StageStatistics:
    """What a stage has done so far, on all of its devices.

    Attributes:
        num_inferences: How often it ran.
        total_ms: How long that took in all, handing tensors over included, waiting excluded.
        longest_ms: The longest of them.
        waiting: How many inputs wait in front of it now.
        devices: Where it runs: names of Edge TPUs, or "cpu", one per replica.
    """

    num_inferences: int = 0
    total_ms: float = 0.0
    longest_ms: float = 0.0
    waiting: int = 0
    devices: tuple[str, ...] = ()

    @property
    def mean_ms(self) -> float:
        """Mean time of an inference; 0 before the first."""
        return self.total_ms / self.num_inferences if self.num_inferences else 0.0
