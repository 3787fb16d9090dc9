"""JSON whose every field is checked: text, numbers, lists, and records with a closed set of fields.

A format is a table of `Field`s. A later release adds a row with `since`, and raises the version
that it writes; what earlier releases wrote is read by the same table.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

# What brackets lead to, outside of strings.
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)
# More than float64 has, and nothing that a number of ours needs: Python takes time that grows with
# the square of the digits.
_MOST_DIGITS = 40
_SHOWN = 80  # characters of what a file says that an error repeats


class FieldError(ValueError):
    """A field is not what its format says. The message names it."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes:
        expected: In the words of an error.
        check: Returns the value, completed where fields may be missing; raises `FieldError`. Its
            arguments: the value, its path in the file, and the file's version.
    """

    expected: str
    check: Callable[[Any, str, int], Any]


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a record.

    Attributes:
        name: Its name.
        kind: What its value may be.
        since: The version of the format that it came with; files of earlier ones do not have it.
        optional: Whether files may lack it all the same.
        default: The value where it is missing.
    """

    name: str
    kind: Kind
    since: int = 1
    optional: bool = False
    default: Any = None


def parse_json(content: bytes, *, max_depth: int, only_finite: bool = True) -> Any:
    """Read JSON, and nothing else that Python's reader takes.

    Args:
        content: UTF-8.
        max_depth: How many lists and objects may be inside each other.
        only_finite: Whether NaN and infinite numbers are refused here; if not, kinds refuse them,
            which can name the field.

    Raises:
        FieldError: It is no JSON, deeper than that, or holds NaN, an infinite number, a name twice
            in one object, or a number of very many digits.
    """
    depth = 0
    for match in _BRACKETS.finditer(content):
        depth += bool(match[1]) - bool(match[2])
        if depth > max_depth:
            raise FieldError(
                f"Lists and objects are nested deeper than {max_depth} at byte {match.start()}."
            )
    try:
        return json.loads(
            content.decode("utf-8"),
            parse_constant=_no_number if only_finite else float,
            parse_int=_whole_number,
            parse_float=_number if only_finite else float,
            object_pairs_hook=_object,
        )
    except FieldError:
        raise
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError as well
        raise FieldError(f"It is no JSON: {str(error)[:_SHOWN]}.") from error


def finite(figures: Any) -> Any:
    """Figures for JSON, which has no NaN and nothing infinite: null stands for them."""
    if isinstance(figures, dict):
        return {name: finite(value) for name, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [finite(value) for value in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def shown(value: Any) -> str:
    """A value as an error repeats it: short, and without control characters."""
    if isinstance(value, str | bytes) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        return f"an object with {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(value)[:_SHOWN]


def refuse(path: str, expected: str, received: str) -> NoReturn:
    """Refuse a field.

    Raises:
        FieldError: Always.
    """
    raise FieldError(f"Field '{path}': expected {expected}. Received: {received}.")


def text(expected: str = "text", *, pattern: str | None = None, most: int = 10_000_000) -> Kind:
    """Text that is Unicode; with a pattern, all of it has to match."""
    compiled = None if pattern is None else re.compile(pattern)

    def check(value: Any, path: str, _version: int) -> Any:
        if not isinstance(value, str) or len(value) > most:
            refuse(path, expected, shown(value))
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
            refuse(path, f"{expected} in Unicode", shown(value))
        if compiled is not None and compiled.fullmatch(value) is None:
            refuse(path, expected, shown(value))
        return value

    return Kind(expected, check)


def one_of(*values: str) -> Kind:
    """One of some texts."""
    expected = " or ".join(f'"{value}"' for value in values)

    def check(value: Any, path: str, _version: int) -> Any:
        if not isinstance(value, str) or value not in values:
            refuse(path, expected, shown(value))
        return value

    return Kind(expected, check)


def whole(least: int, most: int) -> Kind:
    """A whole number within limits."""
    expected = f"a whole number from {least} to {most}"

    def check(value: Any, path: str, _version: int) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            refuse(path, expected, shown(value))
        return value

    return Kind(expected, check)


def boolean() -> Kind:
    """True or false."""
    expected = "true or false"

    def check(value: Any, path: str, _version: int) -> Any:
        if not isinstance(value, bool):
            refuse(path, expected, shown(value))
        return value

    return Kind(expected, check)


def number(least: float, most: float) -> Kind:
    """A number within limits."""
    expected = f"a number from {least:g} to {most:g}"

    def check(value: Any, path: str, _version: int) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(path, expected, shown(value))
        if not least <= value <= most:
            refuse(path, expected, shown(value))
        return value

    return Kind(expected, check)


def nullable(kind: Kind) -> Kind:
    """The same, or null."""
    expected = f"{kind.expected}, or null"

    def check(value: Any, path: str, version: int) -> Any:
        return None if value is None else kind.check(value, path, version)

    return Kind(expected, check)


def list_of(kind: Kind, *, least: int = 0, most: int = 10_000_000) -> Kind:
    """A list of values of one kind."""
    size = "" if (least, most) == (0, 10_000_000) else f" {least} to {most}" if least else ""
    expected = f"a list of{size} values, each {kind.expected}"

    def check(value: Any, path: str, version: int) -> Any:
        if not isinstance(value, list) or not least <= len(value) <= most:
            refuse(path, expected, shown(value))
        return [kind.check(entry, f"{path}[{i}]", version) for i, entry in enumerate(value)]

    return Kind(expected, check)


def map_of(name: Kind, kind: Kind) -> Kind:
    """An object whose names and values are each of one kind."""

    def check(value: Any, path: str, version: int) -> Any:
        if not isinstance(value, dict):
            refuse(path, "an object", shown(value))
        return {
            name.check(key, f"{path} (a name in it)", version): kind.check(
                entry, f"{path}.{_short(key)}", version
            )
            for key, entry in value.items()
        }

    return Kind("an object", check)


def record(fields: Sequence[Field]) -> Kind:
    """An object with these fields and no others."""
    known = {field.name: field for field in fields}

    def check(value: Any, path: str, version: int) -> Any:
        if not isinstance(value, dict):
            refuse(path or "(all)", "an object", shown(value))
        prefix = f"{path}." if path else ""
        for name in value:
            field = known.get(name)
            if field is None or field.since > version:
                refuse(
                    f"{prefix}{_short(name)}",
                    f"no such field in version {version} of the format",
                    shown(value[name]),
                )
        made = {}
        for field in fields:
            where = f"{prefix}{field.name}"
            if field.name in value:
                made[field.name] = field.kind.check(value[field.name], where, version)
            elif field.optional or field.since > version:
                made[field.name] = field.default
            else:
                refuse(where, field.kind.expected, "no such field")
        return made

    return Kind("an object", check)


def changed(kind: Kind, changes: Mapping[int, Kind]) -> Kind:
    """A kind that later versions have changed: version -> what it is from there on."""

    def check(value: Any, path: str, version: int) -> Any:
        since = max((first for first in changes if first <= version), default=0)
        return changes.get(since, kind).check(value, path, version)

    return Kind(max(changes.items())[1].expected, check)


def figures(most_depth: int) -> Kind:
    """Values that nothing is computed from: text and finite numbers, in lists and objects."""
    words = text()

    def check(value: Any, path: str, version: int) -> Any:
        return _figure(value, path, version, most_depth)

    def _figure(value: Any, path: str, version: int, depth: int) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                refuse(path, "a finite number", shown(value))
            return value
        if isinstance(value, str):
            return words.check(value, path, version)
        if depth == 0:
            refuse(path, f"lists and objects no deeper than {most_depth}", shown(value))
        if isinstance(value, list):
            return [_figure(v, f"{path}[{i}]", version, depth - 1) for i, v in enumerate(value)]
        return {
            words.check(key, path, version): _figure(
                entry, f"{path}.{_short(key)}", version, depth - 1
            )
            for key, entry in value.items()
        }

    return Kind("figures", check)


def _short(name: str) -> str:
    """A field's name as a path has it."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name, re.ASCII) else shown(name)


def _no_number(value: str) -> NoReturn:
    raise FieldError(f"It holds {value}, which is no number in JSON.")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise FieldError(f"It holds a number of {len(digits)} digits, {digits[:20]}...")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise FieldError(f"It holds {digits[:_SHOWN]}, which is beyond all numbers.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise FieldError(f"An object has the field {shown(twice)} twice.")
    return made
