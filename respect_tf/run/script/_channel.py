"""A queue of numbered items between threads that can be closed, so that nobody waits for ever.

Part of the saved folder's `run_pipeline.py`: the standard library alone, and Python 3.9.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """In the order of the items' numbers, whatever the order in which they are put.

    Any number of threads may put and get. Each number is put once, and none is left out.
    """

    def __init__(self, limit: int | None = None, writers: int = 1) -> None:
        """Make an empty channel.

        Args:
            limit: How many items it holds before writers wait; None for any number.
            writers: How many threads put numbered items. All but one may be ahead of their turn, so
                so many items more may wait for the one whose turn it is.
        """
        self._items: dict[int, T] = {}
        self._first = 0  # the number that is read next
        self._next = 0  # the number of an item that is put without one
        self._closed = False
        lock = threading.RLock()
        self._readable = threading.Condition(lock)
        self._writable = threading.Condition(lock)
        self._limit = limit
        self._writers = writers

    def __len__(self) -> int:
        return len(self._items)

    def set_limit(self, limit: int | None) -> None:
        """Change how many items it holds. Those that are in it stay."""
        with self._writable:
            self._limit = limit
            self._writable.notify_all()

    def set_writers(self, writers: int) -> None:
        """Change how many threads put numbered items."""
        with self._writable:
            self._writers = writers
            self._writable.notify_all()

    def put(self, item: T, number: int | None = None) -> bool:
        """Put an item, waiting for room. False, without putting it, once the channel is closed.

        Args:
            item: What a reader gets.
            number: Its place, from 0; behind the last one if left out.
        """
        with self._writable:
            while not self._closed and not self._has_room(number):
                self._writable.wait()
            if self._closed:
                return False
            if number is None:
                number = self._next
            self._next = max(self._next, number + 1)
            self._items[number] = item
            self._readable.notify()
            return True

    def get(self) -> tuple[int, T] | None:
        """The next number and its item, waiting for it. None once closed and without it."""
        with self._readable:
            while self._first not in self._items:
                if self._closed:
                    return None
                self._readable.wait()
            number = self._first
            item = self._items.pop(number)
            self._first += 1
            if self._first in self._items:
                self._readable.notify()  # it may have come before its turn, when nobody could go on
            if self._writers > 1:
                self._writable.notify_all()  # which of them may go on depends on its number
            else:
                self._writable.notify()
            return number, item

    def close(self, *, discard: bool = False) -> None:
        """Take no more items; readers still get those that are in it, unless they are discarded."""
        with self._readable:
            self._closed = True
            if discard:
                self._items.clear()
            self._readable.notify_all()
            self._writable.notify_all()

    def _has_room(self, number: int | None) -> bool:
        if self._limit is None:
            return True
        if number is None:
            return len(self._items) < self._limit
        return number - self._first < self._limit + self._writers - 1
