"""Numbers whose squares or quotients no float holds are refused where they stand in the file."""

import itertools

import pytest

from respect_tf import ArgumentError, RespectError
from respect_tf.device import calibrate

_COLUMNS = ("ms", "macs", "cached_bytes", "streamed_bytes", "input_bytes", "output_bytes")


def _table(path, *rows):
    path.write_text("\n".join([",".join(_COLUMNS), *(",".join(row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("column", _COLUMNS)
@pytest.mark.parametrize("text", ["1e308", "1e17", "inf", "-inf", "nan", "9" * 5000, "-1"])
def test_a_number_that_cannot_be_is_named_with_line_and_column(tmp_path, column, text):
    good = ["3", "1e9", "1000", "0", "1000", "1000"]
    bad = [text if name == column else value for name, value in zip(_COLUMNS, good, strict=True)]
    with pytest.raises(ArgumentError, match=f"line 3, column {column}: expected a finite number"):
        calibrate(_table(tmp_path / "m.csv", good, bad))


@pytest.mark.parametrize("tiny", ["1e-300", "1e-320", "1e-7", "0"])
def test_times_are_not_too_short_to_divide_by(tmp_path, tiny):
    with pytest.raises(ArgumentError, match="line 2, column ms"):
        calibrate(_table(tmp_path / "m.csv", [tiny, "1e9", "1", "1", "1", "1"]))


def test_the_largest_and_the_smallest_numbers_end_in_a_fit_or_an_error(tmp_path):
    values = ["1e-6", "9e15"]
    for number, (ms, macs, moved) in enumerate(itertools.product(values, values, values)):
        row = [ms, macs, moved, moved, moved, moved]
        common = ["3", "1e9", "1000", "0", "1000", "1000"]
        path = _table(tmp_path / f"{number}.csv", common, common, common, row)
        try:
            found = calibrate(path)
        except RespectError:
            continue
        assert found.device.fixed_ms >= 0


def test_a_name_that_no_file_can_have_is_no_file(tmp_path):
    for name in ("x" * 300, "a/" * 3000, "."):
        path = tmp_path / "m.csv"
        path.write_text(f"model,ms\n{name},1\n")
        with pytest.raises(ArgumentError, match="line 2, column model"):
            calibrate(path)
