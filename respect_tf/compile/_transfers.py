"""What a compiled program moves at each inference, read from the hints that the driver follows.

An executable lists its transfers in order: a chunk of instructions, or a range of its inputs,
outputs, parameters or scratch memory. Maps that are worked off in strips enter in several ranges,
which overlap where a strip needs rows of its neighbour, so that more bytes enter than the map has.
Layout: `executable/executable.fbs` of https://github.com/google-coral/libedgetpu.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from respect_tf._errors import InvalidModelError
from respect_tf.tflite import FlatBufferTable

_RANGE, _INSTRUCTIONS, _INTERRUPT, _FENCE = 1, 2, 3, 4  # kinds of hints
_OUTPUT, _INPUT, _PARAMETERS, _SCRATCH = range(4)  # what a range lies in


@dataclasses.dataclass(frozen=True)
class Transfers:
    """Bytes that a run of an executable moves over the bus.

    Attributes:
        input_bytes: Of inputs, overlaps of strips counted as often as they are sent.
        output_bytes: Of outputs, padding included.
        parameter_bytes: Of parameters.
        instruction_bytes: Of instructions.
        complete: Whether these are all its transfers. Programs with loops (LSTM) decide at run time
            what else they move.
    """

    input_bytes: int
    output_bytes: int
    parameter_bytes: int
    instruction_bytes: int
    complete: bool


def read_transfers(
    executable: FlatBufferTable, instruction_sizes: Sequence[int], what: str
) -> Transfers | None:
    """The transfers of an executable; None where it lists none.

    Args:
        executable: Its table.
        instruction_sizes: Bytes of each chunk of its instructions.
        what: What it is, for messages.

    Raises:
        InvalidModelError: A hint lies outside the buffer, or has a size or an index that cannot be.
    """
    hints = executable.table(7, f"{what}, hints")
    if hints is None:
        return None
    moved: collections.Counter[int] = collections.Counter()
    instructions, complete = 0, bool(hints.uint8(1))
    for number, hint in enumerate(hints.tables(0, f"{what}, hint")):
        name = f"{what}, hint {number}"
        kind, body = hint.uint8(0), hint.table(1, name)
        if body is None or kind in (_INTERRUPT, _FENCE):
            continue
        if kind == _INSTRUCTIONS:
            chunk = body.int32(0)
            if not 0 <= chunk < len(instruction_sizes):
                raise _damaged(name, f"chunk {chunk} of {len(instruction_sizes)}")
            instructions += instruction_sizes[chunk]
        elif kind == _RANGE:
            place, size = body.table(0, name), body.int32(2)
            if size < 0:
                raise _damaged(name, f"{size} bytes")
            moved[_OUTPUT if place is None else place.int16(0)] += size
        else:  # of a newer layout
            complete = False
    known = {_OUTPUT, _INPUT, _PARAMETERS, _SCRATCH}
    return Transfers(
        input_bytes=moved[_INPUT],
        output_bytes=moved[_OUTPUT],
        parameter_bytes=moved[_PARAMETERS],
        instruction_bytes=instructions,
        complete=complete and known.issuperset(moved),
    )


def _damaged(where: str, received: str) -> InvalidModelError:
    return InvalidModelError(
        f"The compiled model is damaged: {where} moves {received}. Compile or copy it again."
    )
