"""Mutants of files: bytes anywhere, and the places that give a format its structure."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS = (
    "", "0", "-1", "1e308", "-1e-320", "nan", "inf", "9" * 5000, "18446744073709551616", "x" * 3000,
    "../../x", "/dev/zero", "a\0b", "\x1b[2J", "\ud800", "=1+1", '"', "\n", "None", "1_0", "٣",
)  # fmt: skip
_VALUES = (
    *_WORDS, None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 1e-320, 0.5, float("nan"),
    float("inf"), {}, [], {"a": 1}, [None], json.loads("[" * 300 + "]" * 300),
)  # fmt: skip
_UNPACKED = 2**27  # bytes that a member of a mutated archive becomes: 0.1 MB when deflated


def any_bytes(r: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut off, doubled, moved or left out anywhere."""
    data = bytearray(content)
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        place, other = r.randrange(len(data) + 1), r.randrange(len(data) + 1)
        size = r.choice((1, 2, 4, 8, 64, 512))
        match r.randrange(8):
            case 0:
                del data[place:]
            case 1:
                del data[place : place + size]
            case 2:
                data[place:place] = data[place : place + size] * r.choice((1, 2, 100))
            case 3:
                data[place : place + 4] = struct.pack("<I", r.choice(_NUMBERS))
            case 4:
                data[place : place + size] = data[other : other + size]
            case _:
                for where in range(place, min(place + r.choice((1, 1, 3)), len(data))):
                    data[where] = r.choice((0, r.randrange(256), data[where] ^ 1 << r.randrange(8)))
    return bytes(data)


def flatbuffer(r: random.Random, content: bytes) -> bytes:
    """Offsets bent to other objects, lengths of vectors, fields of vtables."""
    offsets, lengths, vtables = _flatbuffer_places(content)
    data = bytearray(content) + bytes(8)
    for _ in range(r.choice((1, 1, 2, 3))):
        kind, value = r.randrange(5), r.choice((*_NUMBERS, r.randrange(512)))
        place = 4 * r.randrange(len(data) // 4)
        if kind < 2 and offsets:
            place, _ = r.choice(offsets)
            value = r.choice(offsets)[1] - place  # often an object of another kind
        elif kind == 2 and lengths:
            place = r.choice(lengths)
            (length,) = struct.unpack_from("<I", data, place)
            value = r.choice((length + 1, 2 * length, len(data), len(data) // 4, value))
        elif kind == 3 and vtables:
            place = r.choice(vtables)
            (size,) = struct.unpack_from("<H", data, place)
            # An earlier change may have made the table longer than the file.
            place = min(place + 2 * r.randrange(max(size // 2, 1)), len(data) - 2)
            struct.pack_into("<H", data, place, r.choice((0, 4, 8, size, r.randrange(64), 0xFFFF)))
            continue
        struct.pack_into("<I", data, place, value & 0xFFFFFFFF)
    return bytes(data[: len(content)])


def _flatbuffer_places(content: bytes) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """What look like offsets with their targets, lengths of vectors, and vtables."""
    offsets, lengths, vtables = [], [], []
    end = len(content) - 4
    for place in range(0, end, 4):
        (offset,) = struct.unpack_from("<I", content, place)
        target = place + offset
        if not 4 <= offset <= end - place:
            continue
        (length,), (back,) = (struct.unpack_from(form, content, target) for form in ("<I", "<i"))
        vtable = target - back
        if 0 <= vtable < end - 128 and 4 <= struct.unpack_from("<H", content, vtable)[0] <= 128:
            offsets.append((place, target))
            vtables.append(vtable)
        elif length <= end - target:
            offsets.append((place, target))
            lengths.append(target)
    return offsets, lengths, vtables


def json_text(r: random.Random, content: bytes) -> bytes:
    """Values of other types and sizes, keys that are missing, values from elsewhere."""
    try:
        root = json.loads(content)
    except ValueError:
        return any_bytes(r, content)
    for _ in range(r.choice((1, 1, 2))):
        places = list(_json_places(root)) or [([0], 0)]
        parent, key = r.choice(places)
        match r.randrange(5):
            case 0 if isinstance(parent, dict):
                del parent[key]
            case 1:
                other, there = r.choice(places)
                parent[key] = json.loads(json.dumps(other[there]))
            case 2 if isinstance(parent, dict):
                parent[r.choice(_WORDS)] = parent[key]
            case 3 if isinstance(parent, list):
                parent[key:key] = [parent[key]] * r.choice((1, 50))
            case _:
                parent[key] = r.choice(_VALUES)
    text = json.dumps(root)
    if r.random() < 0.02:
        text = r.choice(("[" * 100_000, '{"a":' * 100_000, text * 2, text[:-1], "\ufeff" + text))
    return text.encode()


def _json_places(root: Any) -> Iterator[tuple[Any, Any]]:
    todo = [root]
    while todo:
        value = todo.pop()
        if isinstance(value, dict | list):
            for key in list(value) if isinstance(value, dict) else range(len(value)):
                yield value, key
                todo.append(value[key])


def archive(r: random.Random, content: bytes) -> bytes:
    """Members with other contents, names, sizes, methods; a few bytes that unpack to many."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    chosen = r.randrange(len(members))
    name, inner = members[chosen]
    method = zipfile.ZIP_DEFLATED
    match r.randrange(8):
        case 0:
            name = r.choice(("../x", "/x", "", "a\\b", name + "/", name.upper(), "x" * 300))
        case 1:
            members += r.choice(([(name, inner)], [("more", inner)], members))
        case 2:
            method = r.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED))
        case 3:
            inner = bytes(r.choice((2**20, _UNPACKED)))
        case 4:
            inner = json_text(r, inner)
        case 5:
            inner = any_bytes(r, inner[:128]) + inner[128:]  # where the header of an array lies
        case _:
            inner = any_bytes(r, inner)
    members[chosen] = (name, inner)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # for names that are there twice
        for each, data in members:
            target.writestr(zipfile.ZipInfo(each), data, method)
            if r.random() < 0.1:
                target.infolist()[-1].file_size = r.choice((0, 1, 2**31, len(data) + 1))
    return any_bytes(r, stream.getvalue()) if r.random() < 0.3 else stream.getvalue()


def table(r: random.Random, content: bytes) -> bytes:
    """Cells, rows and columns of a CSV file changed, missing, too many."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(r.choice((1, 1, 2, 4))):
        row = r.choice(rows) or [""]
        column = r.randrange(len(row))
        match r.randrange(6):
            case 0:
                row[column : column + 1] = row[column : column + 1] * r.choice((0, 2))
            case 1:
                rows[r.randrange(len(rows))] = list(row)
            case 2:
                rows[:] = [other[:column] + other[column + 1 :] for other in rows]
            case 3:
                rows.insert(r.randrange(len(rows)), list(row))
            case _:
                row[column] = r.choice((*_WORDS, f"1e{r.randint(-330, 330)}"))
    stream = io.StringIO()
    csv.writer(stream, delimiter=r.choice(",,,,;\t")).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def lines(r: random.Random, content: bytes) -> bytes:
    """Lines doubled or missing, and words in them that are others."""
    text = content.decode("utf-8", "replace").splitlines(keepends=True)
    for _ in range(r.choice((1, 2, 4))):
        place = r.randrange(len(text))
        match r.randrange(4):
            case 0:
                text[place : place + r.choice((1, 3))] = [""]
            case 1:
                text[place:place] = text[place : place + 3] * r.choice((1, 100))
            case _:
                words = text[place].split(" ")
                words[r.randrange(len(words))] = r.choice(_WORDS)
                text[place] = " ".join(words)
    return "".join(text).encode("utf-8", "surrogatepass")
