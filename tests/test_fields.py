"""JSON whose every field is checked."""

import json

import pytest

from respect_tf._fields import (
    Field,
    FieldError,
    figures,
    finite,
    list_of,
    nullable,
    number,
    parse_json,
    record,
    text,
    whole,
)


def test_json_is_read():
    content = '{"a": [1, 2.5, null, true, "ü\\n", "[[[{"], "b": {}}'.encode()
    assert parse_json(content, max_depth=2) == json.loads(content)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"[" * 100_000, "deeper than 4 at byte 4"),
        (b"[[[[[]]]]]", "deeper than 4"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "1e999"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b"\xff", "no JSON"),
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\x00", "no JSON"),
        (b"]" * 100_000, "no JSON"),
        (b'"' + b"\\" * 100_001, "no JSON"),
    ],
)
def test_what_is_no_json_or_more_than_that_is_refused(content, match):
    with pytest.raises(FieldError, match=match):
        parse_json(content, max_depth=4)


_FORMAT = record(
    [
        Field("name", text()),
        Field("sizes", list_of(whole(0, 9), most=3), optional=True, default=[]),
        Field("speed", nullable(number(0, 1)), since=2),
    ]
)


def test_versions_of_a_format():
    old = _FORMAT.check({"name": "x"}, "", 1)
    assert old == {"name": "x", "sizes": [], "speed": None}
    assert _FORMAT.check({"name": "x", "speed": 0.5}, "", 2)["speed"] == 0.5
    with pytest.raises(FieldError, match="'speed': expected no such field in version 1"):
        _FORMAT.check({"name": "x", "speed": 0.5}, "", 1)
    with pytest.raises(FieldError, match="'speed': expected a number"):
        _FORMAT.check({"name": "x"}, "", 2)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "an object"),
        ({}, "'name': expected text. Received: no such field"),
        ({"name": 1}, "'name'"),
        ({"name": "\ud800"}, "Unicode"),
        ({"name": "x", "sizes": 1}, "'sizes'"),
        ({"name": "x", "sizes": [1, 2, 3, 4]}, "a list of 4"),
        ({"name": "x", "sizes": [1, 10]}, r"'sizes\[1\]': expected a whole number from 0 to 9"),
        ({"name": "x", "sizes": [True]}, r"'sizes\[0\]'"),
        ({"name": "x", "sizes": [1.0]}, r"'sizes\[0\]'"),
        ({"name": "x", "\x1b[2J": 1}, r"\\x1b"),
        ({"name": "y" * 11_000_000}, r"11000000 characters"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_named(value, match):
    with pytest.raises(FieldError, match=match) as caught:
        _FORMAT.check(value, "", 1)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [b"NaN", b"-Infinity", b"1e999"])
def test_what_is_not_finite_is_named_where_a_kind_refuses_it(content):
    value = parse_json(b'{"a": [' + content + b"]}", max_depth=2, only_finite=False)
    for kind in (figures(2), record([Field("a", list_of(number(0, 1)))])):
        with pytest.raises(FieldError, match=r"a\[0\]': expected a"):
            kind.check(value, "", 1)


def test_figures_are_of_bounded_depth():
    good = {"a": [1, {"b": None}]}
    assert figures(3).check(good, "x", 1) == good
    with pytest.raises(FieldError, match=r"'x\.a\[1\]'"):
        figures(2).check(good, "x", 1)


def test_what_json_cannot_say_becomes_null():
    assert finite({"a": [float("nan"), (float("inf"), 1.5)]}) == {"a": [None, [None, 1.5]]}
