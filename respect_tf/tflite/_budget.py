"""How much of a file may be read: in a FlatBuffer, offsets can point at one part again and again.

A few hundred bytes of offsets can stand for millions of objects. So everything that is read is
counted, each time, and a file that comes to far more than it holds is refused. What is made of a
file is thereby bounded by its size.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from respect_tf._errors import InvalidModelError

# Bytes read per byte of the file. Of 160 public models, the highest takes 1.2 (writers share names,
# and small tables count more than they hold). In compiled ones, packages lie in each other: 4 more.
_MOST_TIMES = 8
# Of the same models, the largest has 1,701 tables; 0.05 ms and 1 KB each when unpacked.
_MOST_TABLES = 2**18
_LEAST_TABLE = 16  # bytes that a table counts at least: an empty one is 4 bytes and an offset of 4


class ReadingBudget:
    """Counts what is read of one file.

    Args:
        num_bytes: Size of the file.
        what: What it is, for messages.
    """

    def __init__(self, num_bytes: int, what: str) -> None:
        self._size, self._what = num_bytes, what
        self._left = _MOST_TIMES * num_bytes
        self._tables = 0

    def spend(self, num_bytes: int) -> None:
        """Count a string, a vector or a file inside the file.

        Raises:
            InvalidModelError: More was read than the file can hold.
        """
        self._left -= num_bytes
        if self._left < 0:
            raise InvalidModelError(
                f"The {self._what} is damaged: its offsets point at the same bytes again and "
                f"again. Expected each part once, and at most {_MOST_TIMES} bytes read for each of "
                f"its {self._size} bytes. Export or copy it again."
            )

    def spend_table(self, num_bytes: int) -> None:
        """Count a table by the bytes of its own fields.

        Raises:
            InvalidModelError: There are too many, or more was read than the file can hold.
        """
        self._tables += 1
        if self._tables > _MOST_TABLES:
            raise InvalidModelError(
                f"The {self._what} has more than {_MOST_TABLES} tables (tensors, ops, options and "
                f"so on) in its {self._size} bytes. Expected at most that many: export a smaller "
                "model."
            )
        self.spend(max(num_bytes, _LEAST_TABLE))


_current: ContextVar[ReadingBudget | None] = ContextVar("budget", default=None)


@contextlib.contextmanager
def bounded(budget: ReadingBudget) -> Iterator[None]:
    """Charge what the classes of `count_tables` unpack inside the block."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)


def count_tables(schema: ModuleType) -> None:
    """Make all classes of a generated module charge the current budget when they unpack a table.

    A table is counted before what it points to is read, so nothing is ever far above the budget.
    """
    for kind in list(vars(schema).values()):
        if isinstance(kind, type) and "_UnPack" in vars(kind):
            kind._UnPack = _counted(kind._UnPack)  # type: ignore[attr-defined]


def _counted(unpack: Any) -> Any:
    @functools.wraps(unpack)
    def counted(self: Any, table: Any) -> None:
        budget = _current.get()
        if budget is None:
            unpack(self, table)
            return
        budget.spend_table(_num_bytes(table._tab))
        unpack(self, table)
        for value in vars(self).values():
            if isinstance(value, bytes):
                budget.spend(len(value))
            elif isinstance(value, np.ndarray):
                budget.spend(value.nbytes)

    return counted


def _num_bytes(table: Any) -> int:
    """Bytes of a table's own fields, as its vtable has them."""
    from flatbuffers.number_types import SOffsetTFlags, VOffsetTFlags

    vtable = table.Pos - table.Get(SOffsetTFlags, table.Pos)
    return int(table.Get(VOffsetTFlags, vtable + 2))
