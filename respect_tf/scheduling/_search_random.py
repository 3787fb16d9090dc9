"""Compiled: random numbers, the same on every machine and with every release.

Import this module only where it is needed.
"""

from __future__ import annotations

from respect_tf._compiled import compiled
from respect_tf.scheduling._search_state import MODULUS


@compiled
def next_random(random: int) -> int:
    """The next of Lehmer's random numbers, which are 1 to 2**31 - 2."""
    random *= 48271
    random = (random & MODULUS) + (random >> 31)
    return random if random < MODULUS else random - MODULUS
