"""What all ancestors, or all descendants, of each op weigh: in time that grows with the width."""

from __future__ import annotations

import numpy as np

from respect_tf._loops.twins import loop
from respect_tf.graph._structural import Floats, Ints, Links, Rows


def masses_before(links: Links, mass: Floats) -> Floats:
    """The mass of the ancestors of each op.

    Args:
        links: The edges; makers have smaller numbers than their readers.
        mass: float64 [num_ops], whole numbers, so that any order of adding is exact.

    Returns:
        float64 [num_ops].
    """
    return _masses(links.before, mass)


def masses_after(links: Links, mass: Floats) -> Floats:
    """The mass of the descendants of each op. See `masses_before`."""
    return _masses(links.after.mirrored(), np.ascontiguousarray(mass[::-1]))[::-1]


def _masses(before: Rows, mass: Floats) -> Floats:
    masses = np.zeros(len(mass))
    loop(run_masses)(*before, mass, masses)
    return masses


def run_masses(offsets: Ints, makers: Ints, mass: Floats, before: Floats) -> None:
    """Set the mass of all ancestors of each op. A loop for `_loops.loop`.

    The ancestors of an op are all ops below a number, and some above it: hardly any but in graphs
    of long branches. What an op weighs comes from the maker of the highest such number, and what
    the others add to it.
    """
    unread = np.bincount(makers, minlength=len(mass))
    closures: dict[int, tuple[int, int]] = {}  # that number, and bits of all ops from it on
    for op in range(len(mass)):
        sources = makers[offsets[op] : offsets[op + 1]].tolist()
        whole, united = 0, 0
        if sources:
            best = max(sources, key=lambda maker: (closures[maker][0], maker))
            whole, known = closures[best]
            for maker in sources:
                low, bits = closures[maker]
                united |= bits >> (whole - low)
            before[op] = before[best] + mass[best]
            for place in _ones(united & ~known):
                before[op] += mass[whole + place]
        more = _trailing_ones(united)
        whole, united = whole + more, united >> more
        if whole == op:
            closures[op] = (op + 1, 0)
        else:
            closures[op] = (whole, united | 1 << (op - whole))
        for maker in sources:
            unread[maker] -= 1
            if unread[maker] == 0:
                del closures[maker]


def _ones(bits: int) -> list[int]:
    """Places of the bits that are set."""
    return [place for place, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _trailing_ones(bits: int) -> int:
    """How many of the lowest bits are set in a row."""
    return (~bits & (bits + 1)).bit_length() - 1
