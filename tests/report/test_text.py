"""Numbers and tables as a person reads them."""

import pytest

from respect_tf.report import format_bytes, table


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (6 * 1024**2, "6.00 MiB"),
        (5e12, "4656.61 GiB"),
    ],
)
def test_bytes(count, shown):
    assert format_bytes(count) == shown


def test_a_table_has_no_trailing_blanks_and_keeps_long_cells():
    text = table(["name", "value"], [["x" * 120, 1], ["y", 22]])
    assert not any(line.endswith(" ") for line in text.splitlines())
    assert text.count("x") == 120


def test_a_table_is_text_in_a_notebook_too(monkeypatch):
    plain = table(["name", "value"], [["x", 1]])
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert table(["name", "value"], [["x", 1]]) == plain != ""
