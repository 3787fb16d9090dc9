"""The one reporting function: levels, progress, and where they go."""

import io
import re
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from model_builder import ModelBuilder

import respect_tf
from respect_tf import _reporting
from respect_tf._reporting import printable, progress, redirect, report, tell
from respect_tf.cli import main
from respect_tf.report._text import table

_LIMIT = 600  # seconds after which a test gives up


class _Watched(io.StringIO):
    """A stream that tells when something is written."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def write(self, text):
        super().write(text)
        self.written.set()

    def wait(self):
        assert self.written.wait(_LIMIT)
        self.written.clear()


@pytest.fixture
def stream():
    target = _Watched()
    with redirect(target):
        yield target


@pytest.fixture
def soon(monkeypatch):
    """Progress is shown without waiting for the work to take long."""
    monkeypatch.setattr(_reporting, "_PROGRESS_AFTER_SECONDS", 0)


@pytest.mark.parametrize(
    ("verbose", "shown"), [(0, ""), ("auto", "news\n"), (1, "news\n"), (2, "news\ndetail\n")]
)
def test_verbosity_decides_what_is_shown(stream, verbose, shown):
    report("news", verbose=verbose)
    report("detail", verbose=verbose, level=2)
    assert stream.getvalue() == shown


def test_short_work_shows_nothing(stream, monkeypatch):
    monkeypatch.setattr(_reporting, "_PROGRESS_AFTER_SECONDS", _LIMIT)
    with progress("Working"):
        pass
    assert stream.getvalue() == ""


def test_long_work_shows_a_line_at_its_start_and_its_end(stream, soon):
    with progress("Working"):
        stream.wait()
    first, last = stream.getvalue().splitlines()
    assert first == "Working ..."
    assert re.fullmatch(r"Working: \d+\.\d s", last)


def test_silence_is_silent_and_starts_no_thread(stream, soon):
    before = threading.active_count()
    with progress("Working", verbose=0) as detail:
        detail("step 1")
        assert threading.active_count() == before
    assert stream.getvalue() == ""


def test_on_a_terminal_one_line_is_kept_up_to_date_and_removed(soon):
    class Terminal(_Watched):
        def isatty(self):
            return True

    terminal = Terminal()
    with redirect(terminal), progress("Working") as detail:
        detail("step 1")
        while "step 1" not in terminal.getvalue():  # the line may be older than the detail
            terminal.wait()
    assert "\r\x1b[2K" in terminal.getvalue()
    assert re.search(r"Working: \d+\.\d s\n", terminal.getvalue())


def test_in_a_file_each_phase_is_a_line(stream, soon, monkeypatch):
    monkeypatch.setattr(_reporting, "_FILE_SECONDS", 0.001)
    with progress("Working"):
        for detail in ("loading", "calibrating: 1 of 9 samples", "calibrating: 2 of 9 samples"):
            tell(detail)
            stream.wait()
            while detail[:8] not in stream.getvalue() or not stream.getvalue().endswith("."):
                stream.wait()  # dots say that it goes on
        report("warning: so hot")
    lines = [line.rstrip(".") for line in stream.getvalue().splitlines()]
    assert "warning: so hot" in lines
    phases = list(dict.fromkeys(re.sub(r"[\d.]+", "#", line) for line in lines))
    assert "Working # loading" in phases
    assert "Working # calibrating: # of # samples" in phases


def test_in_a_notebook_one_line_is_written_over(soon, monkeypatch):
    class Cell(_Watched):
        pass

    Cell.__module__ = "ipykernel.iostream"
    cell = Cell()
    with redirect(cell), progress("Working"):
        cell.wait()
    first, *_, last = cell.getvalue().split("\r")
    assert first == ""
    assert "\x1b" not in cell.getvalue()
    assert re.fullmatch(r"Working: \d+\.\d s\n", last)


def test_blocks_inside_a_block_are_its_details_and_keep_its_silence(stream, soon):
    with progress("Outside") as detail, progress("Scheduling 3 ops"):
        while "scheduling 3 ops" not in stream.getvalue():
            detail("scheduling 3 ops")
            stream.wait()
    assert stream.getvalue().splitlines()[-1].startswith("Outside: ")
    before = stream.getvalue()
    with progress("Outside", verbose=0), progress("Inside"):
        tell("nothing")
    assert stream.getvalue() == before
    tell("outside of all blocks")
    assert stream.getvalue() == before


def test_items_are_counted_with_the_time_that_is_left(monkeypatch):
    told = []
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr(_reporting.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(_reporting, "tell", told.append)
    assert list(_reporting.counted("calibrating", "abc", 3, unit="samples")) == ["a", "b", "c"]
    assert told == [
        "calibrating: 0 of 3 samples",
        "calibrating: 1 of 3 samples, 20 s left",
        "calibrating: 2 of 3 samples, 10 s left",
    ]


def test_a_slow_conversion_says_all_that_it_does(monkeypatch):
    """Each sample waits until the display has caught up: nothing depends on the machine's speed."""
    import keras

    monkeypatch.setattr(_reporting, "_PROGRESS_AFTER_SECONDS", 0)
    monkeypatch.setattr(_reporting, "_FILE_SECONDS", 0.001)
    start = keras.Input((8, 8, 3))
    model = keras.Model(start, keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3)(start)))
    told = []
    original = _reporting._Display.set_detail
    monkeypatch.setattr(
        _reporting._Display,
        "set_detail",
        lambda self, text: (told.append(text), original(self, text)),
    )
    samples = np.zeros((3, 8, 8, 3), np.float32)
    samples[:, 0] = 1
    target = io.StringIO()
    with redirect(target):
        respect_tf.convert(model, 2, samples)
    phases = [re.sub(r"[\d.]+", "#", text).partition(",")[0] for text in told]
    expected = ["loading the model", "tracing", "converting to TFLite",
                "calibrating: # of # samples", "quantising", "scheduling # ops",
                "proving the segments bit for bit"]  # fmt: skip
    assert [phase for phase in dict.fromkeys(phases) if phase in expected] == expected
    assert target.getvalue().count("Converting functional") >= 1
    silent = io.StringIO()
    with redirect(silent):
        respect_tf.convert(model, 2, samples, verbose=0)
    assert silent.getvalue() == ""


def test_an_error_inside_ends_the_display(stream, soon):
    before = threading.active_count()

    def fail():
        with progress("Working"):
            stream.wait()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert threading.active_count() == before
    assert "Working:" not in stream.getvalue()


_NASTY = "a\x1b[2J\x9b\r\x07\x7f\u202e\u2028\ud800b"
_ESCAPED = r"a\x1b[2J\x9b\r\x07\x7f\u202e\u2028\ud800b"


def test_what_a_terminal_obeys_is_escaped(stream):
    assert printable(_NASTY) == _ESCAPED
    assert printable("größe\tä\nb") == "größe\tä\nb"
    report(_NASTY)
    assert stream.getvalue() == _ESCAPED + "\n"


def test_names_in_errors_and_tables_are_escaped():
    assert str(respect_tf.ArgumentError(_NASTY)) == _ESCAPED
    assert str(respect_tf.SavedPipelineError(_NASTY)) == _ESCAPED
    shown = table(["name"], [[_NASTY]])
    assert "\x1b" not in shown
    assert r"\x1b[2J" in shown


def test_a_model_with_such_names_shows_none_of_them_raw(tmp_path, capfd):
    builder, name = ModelBuilder(), "t\x1b[2J\x1b]0;owned\x07"
    made = builder.conv(builder.input(name))
    builder.rename(made, name + "2")
    path = tmp_path / "m.tflite"
    path.write_bytes(builder.build([builder.conv(made)], signature=([name], [name])))
    pipeline = respect_tf.convert(path, 2, objective="memory", verify=False)
    folder = pipeline.save(tmp_path / "out")
    for command in (["inspect", str(path)], ["schedule", str(path), "-n", "2"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0
        assert "\x1b" not in done.output
    for text in (str(pipeline.report), str(respect_tf.inspect(path)), *capfd.readouterr()):
        assert "\x1b" not in text
    assert respect_tf.load(folder).inputs.keys() == {name}


def test_work_goes_on_where_nobody_can_be_told():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with redirect(Full()):
        report("news")
