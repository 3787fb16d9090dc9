"""FlatBuffer tables read in place, every offset checked and everything read counted.

The generated reader for TFLite models trusts its input; packages for the Edge TPU have no generated
reader here at all. A FlatBuffer table is a signed offset to its vtable, which holds one 16-bit
offset per field, 0 for an absent one (https://flatbuffers.dev/internals).
"""

from __future__ import annotations

import struct

from respect_tf._errors import InvalidModelError
from respect_tf.tflite._budget import ReadingBudget


class FlatBufferTable:
    """A table in a buffer.

    Args:
        buffer: All bytes of the FlatBuffer.
        position: Byte at which the table begins.
        what: What it is, for messages.
        budget: What reading it is charged to, with all that it points to.

    Raises:
        InvalidModelError: The table lies outside the buffer. All methods raise it for theirs.
    """

    def __init__(
        self, buffer: memoryview, position: int, what: str, *, budget: ReadingBudget
    ) -> None:
        self._buffer, self._position, self._what = buffer, position, what
        self._budget = budget
        self._vtable = position - self._number("<i", position)
        self._num_bytes = self._number("<H", self._vtable)
        if self._num_bytes < 4 or self._num_bytes % 2:
            raise self._damaged(f"its vtable has {self._num_bytes} bytes")
        budget.spend_table(self._number("<H", self._vtable + 2))

    @classmethod
    def root(
        cls,
        buffer: bytes | memoryview,
        what: str,
        identifier: bytes,
        *,
        budget: ReadingBudget | None = None,
    ) -> FlatBufferTable:
        """The root table of a buffer with a file identifier at byte 4.

        Args:
            buffer: All bytes of the FlatBuffer.
            what: What it is, for messages.
            identifier: The four bytes.
            budget: That of the file it lies in; one of its own if left out.
        """
        view = memoryview(buffer)
        if len(view) < 8 or bytes(view[4:8]) != identifier:
            raise InvalidModelError(
                f"The {what} in the model is damaged or of an unknown format. Expected "
                f"the identifier {identifier!r} at byte 4. Received: {bytes(view[4:8])!r}, "
                f"{len(view)} bytes in all."
            )
        return cls.plain_root(view, what, budget=budget or ReadingBudget(len(view), what))

    @classmethod
    def plain_root(cls, buffer: memoryview, what: str, *, budget: ReadingBudget) -> FlatBufferTable:
        """The root table of a buffer without an identifier."""
        if len(buffer) < 4:
            raise InvalidModelError(f"The {what} in the model has {len(buffer)} bytes.")
        return cls(buffer, struct.unpack_from("<I", buffer, 0)[0], what, budget=budget)

    @property
    def budget(self) -> ReadingBudget:
        """What reading the file is charged to; for files that lie in this one."""
        return self._budget

    def uint8(self, field: int, default: int = 0) -> int:
        """A field of 8 bits."""
        return self._scalar("<B", field, default)

    def int16(self, field: int, default: int = 0) -> int:
        """A field of 16 bits."""
        return self._scalar("<h", field, default)

    def int32(self, field: int, default: int = 0) -> int:
        """A field of 32 bits."""
        return self._scalar("<i", field, default)

    def int64(self, field: int, default: int = 0) -> int:
        """A field of 64 bits, signed."""
        return self._scalar("<q", field, default)

    def uint64(self, field: int, default: int = 0) -> int:
        """A field of 64 bits, unsigned."""
        return self._scalar("<Q", field, default)

    def float32(self, field: int, default: float = 0.0) -> float:
        """A floating-point field."""
        position = self._field(field)
        return default if position is None else float(self._unpack("<f", position))

    def text(self, field: int) -> str:
        """A string; bytes that are no UTF-8 are shown as escapes. Empty if absent."""
        return bytes(self.data(field)).decode("utf-8", "backslashreplace")

    def data(self, field: int) -> memoryview:
        """A vector of bytes or a string, as a view. Empty if absent."""
        start, length = self._vector(field, 1)
        return self._buffer[start : start + length]

    def int32_pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two 32-bit numbers. Empty if absent."""
        start, length = self._vector(field, 8)
        return list(struct.iter_unpack("<ii", self._buffer[start : start + 8 * length]))

    def float32s(self, field: int) -> tuple[float, ...]:
        """A vector of floating-point numbers. Empty if absent."""
        start, length = self._vector(field, 4)
        return struct.unpack_from(f"<{length}f", self._buffer, start)

    def table(self, field: int, what: str) -> FlatBufferTable | None:
        """A table that this one points to."""
        position = self._field(field)
        return None if position is None else self._at(position, what)

    def tables(self, field: int, what: str) -> list[FlatBufferTable]:
        """A vector of tables. Empty if absent."""
        start, length = self._vector(field, 4)
        return [self._at(start + 4 * number, f"{what} {number}") for number in range(length)]

    def strings(self, field: int) -> list[memoryview]:
        """A vector of strings as the bytes they hold. Empty if absent."""
        start, length = self._vector(field, 4)
        return [self._bytes_at(start + 4 * number) for number in range(length)]

    def _at(self, position: int, what: str) -> FlatBufferTable:
        target = position + self._number("<I", position)
        return FlatBufferTable(self._buffer, target, what, budget=self._budget)

    def _bytes_at(self, position: int) -> memoryview:
        target = position + self._number("<I", position)
        length = self._number("<I", target)
        self._check(target + 4, length)
        self._budget.spend(4 + length)
        return self._buffer[target + 4 : target + 4 + length]

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where a vector's first element lies, and how many there are."""
        position = self._field(field)
        if position is None:
            return 0, 0
        position += self._number("<I", position)
        length = self._number("<I", position)
        self._check(position + 4, length * size)
        self._budget.spend(length * size)
        return position + 4, length

    def _scalar(self, form: str, field: int, default: int) -> int:
        position = self._field(field)
        return default if position is None else self._number(form, position)

    def _field(self, field: int) -> int | None:
        """Where a field lies; None if it is absent and has its default."""
        entry = 4 + 2 * field
        if entry + 2 > self._num_bytes:
            return None
        offset = self._number("<H", self._vtable + entry)
        return self._position + offset if offset else None

    def _number(self, form: str, position: int) -> int:
        return int(self._unpack(form, position))

    def _unpack(self, form: str, position: int) -> int | float:
        self._check(position, struct.calcsize(form))
        value: int | float = struct.unpack_from(form, self._buffer, position)[0]
        return value

    def _check(self, position: int, size: int) -> None:
        if position < 0 or position + size > len(self._buffer):
            raise self._damaged(f"it points to bytes {position} to {position + size}")

    def _damaged(self, why: str) -> InvalidModelError:
        return InvalidModelError(
            f"The model is damaged: in its {self._what}, {why}; the buffer has "
            f"{len(self._buffer)} bytes. Make or copy it again."
        )
