"""How much memory and time a model in a worker may take."""

from __future__ import annotations

import dataclasses
import os

from respect_tf._errors import ArgumentError

SECONDS_VARIABLE = "RESPECT_TF_MODEL_SECONDS"

MEMORY_VARIABLE = "RESPECT_TF_MODEL_MIB"

# One inference, in seconds of the processor's time, so that other work on the machine does not
# count. Measured on one thread of a server's core: 0.02 s for MobileNetV2 (3 MiB), 0.07 to 0.25 s
# for the ten models of the benchmark (7 to 59 MiB). That leaves a factor of 100 for larger maps and
# slower boards, and ends a small file that loops in a quarter of a minute.
_CPU_SECONDS = 15.0

_CPU_SECONDS_PER_MIB = 0.25

# The time on the wall, for a worker that gets no processor: as on a machine that swaps.
_WALL_PER_CPU_SECOND = 20.0

# Private memory on top of what the libraries take. Measured for the same models: 12 to 80 MiB, and
# up to 160 MiB where all tensors are kept, as for a proof. The file is in memory once as bytes and
# a second time as constants that kernels have packed; that is doubled.
_MEMORY_MIB = 1536

_MEMORY_PER_BYTE = 4


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one call to a worker may take.

    Attributes:
        wall_seconds: Until this process gives it up.
        cpu_seconds: Of the processor's time; None for any.
        memory_bytes: Private memory on top of the libraries' own.
    """

    wall_seconds: float
    cpu_seconds: float | None
    memory_bytes: int

    @classmethod
    def for_model(cls, num_bytes: int) -> Limits:
        """The limits for a model's file of some size.

        A small file that takes long or much is worked at no longer than that; the environment
        variables `RESPECT_TF_MODEL_SECONDS` and `RESPECT_TF_MODEL_MIB` set other limits.

        Raises:
            ArgumentError: One of the variables is no number above 0.
        """
        mib = num_bytes / 2**20
        cpu = _variable(SECONDS_VARIABLE) or _CPU_SECONDS + _CPU_SECONDS_PER_MIB * mib
        memory = _variable(MEMORY_VARIABLE) or _MEMORY_MIB + _MEMORY_PER_BYTE * mib
        return cls(_WALL_PER_CPU_SECOND * cpu, cpu, int(memory * 2**20))


def _variable(name: str) -> float | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ArgumentError(f"{name} must be a number above 0. Received: {text!r}.")
    return number
