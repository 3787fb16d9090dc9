"""A queue between two threads that can be closed, so that nobody waits for ever."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from respect_tf._errors import ArgumentError

T = TypeVar("T")


class Channel(Generic[T]):
    """First in, first out, for any number of writers and readers."""

    def __init__(self, limit: int | None = None) -> None:
        """Make an empty channel.

        Args:
            limit: How many items it holds before writers wait; None for any number.

        Raises:
            ArgumentError: The limit is below 1.
        """
        self._items: deque[T] = deque()
        self._closed = False
        lock = threading.RLock()
        self._readable = threading.Condition(lock)
        self._writable = threading.Condition(lock)
        self.set_limit(limit)

    def __len__(self) -> int:
        return len(self._items)

    def set_limit(self, limit: int | None) -> None:
        """Change how many items it holds. Those that are in it stay."""
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
        ):
            raise ArgumentError(
                "The size of a queue must be a whole number, 1 or more, or None for no limit. "
                f"Received: {limit!r}."
            )
        with self._writable:
            self._limit = limit
            self._writable.notify_all()

    def put(self, item: T) -> bool:
        """Append an item, waiting for room. False, without appending, once it is closed."""
        with self._writable:
            while not self._closed and self._limit is not None and len(self._items) >= self._limit:
                self._writable.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._readable.notify()
            return True

    def get(self) -> T | None:
        """The first item, waiting for it. None once it is closed and empty."""
        with self._readable:
            while not self._items:
                if self._closed:
                    return None
                self._readable.wait()
            item = self._items.popleft()
            self._writable.notify()
            return item

    def close(self, *, discard: bool = False) -> None:
        """Take no more items; readers still get those that are in it, unless they are discarded."""
        with self._readable:
            self._closed = True
            if discard:
                self._items.clear()
            self._readable.notify_all()
            self._writable.notify_all()
