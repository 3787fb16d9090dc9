"""Which device had better work for another stage."""

from __future__ import annotations

from collections.abc import Sequence

# Inferences of a stage until its mean time counts for moving a device, and by how much the slowest
# stage's share has to fall, so that noise moves nothing.
MOVE_AFTER = 16
MOVE_GAIN = 0.9


def best_move(
    mean_ms: Sequence[float], counts: Sequence[int], on_cpu: Sequence[bool]
) -> tuple[int, int] | None:
    """From which stage to which a device should move, or None where that gains too little.

    A stage's share is its time divided by its devices, and the pipeline is as slow as the largest.

    Args:
        mean_ms: Of each stage, how long an inference takes.
        counts: Of each stage, its devices.
        on_cpu: Of each stage, whether it has no device.
    """
    shares = [ms / count for ms, count in zip(mean_ms, counts)]
    slowest = max(range(len(shares)), key=lambda index: shares[index])
    if on_cpu[slowest]:
        return None
    best, least = None, MOVE_GAIN * shares[slowest]
    for giver, count in enumerate(counts):
        if giver == slowest or count < 2 or on_cpu[giver]:
            continue
        after = list(shares)
        after[giver] = mean_ms[giver] / (count - 1)
        after[slowest] = mean_ms[slowest] / (counts[slowest] + 1)
        if max(after) < least:
            best, least = (giver, slowest), max(after)
    return best
