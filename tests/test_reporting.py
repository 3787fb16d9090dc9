"""The one reporting function: levels, progress, and where they go."""

import io
import threading
import time

import pytest

from respect_tf import _reporting
from respect_tf._reporting import progress, redirect, report


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.setattr(_reporting, "_PROGRESS_AFTER_SECONDS", 0.05)
    target = io.StringIO()
    with redirect(target):
        yield target


@pytest.mark.parametrize(
    ("verbose", "shown"), [(0, ""), ("auto", "news\n"), (1, "news\n"), (2, "news\ndetail\n")]
)
def test_verbosity_decides_what_is_shown(stream, verbose, shown):
    report("news", verbose=verbose)
    report("detail", verbose=verbose, level=2)
    assert stream.getvalue() == shown


def test_short_work_shows_nothing(stream):
    with progress("Working"):
        pass
    assert stream.getvalue() == ""


def test_long_work_shows_a_line_at_its_start_and_its_end(stream):
    with progress("Working"):
        time.sleep(0.2)
    first, last = stream.getvalue().splitlines()
    assert first == "Working ..."
    assert last.startswith("Working: 0.")


def test_silence_is_silent_and_starts_no_thread(stream):
    before = threading.active_count()
    with progress("Working", verbose=0) as detail:
        detail("step 1")
        time.sleep(0.1)
        assert threading.active_count() == before
    assert stream.getvalue() == ""


def test_on_a_terminal_one_line_is_kept_up_to_date_and_removed(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(_reporting, "_PROGRESS_AFTER_SECONDS", 0.05)
    terminal = Terminal()
    with redirect(terminal), progress("Working") as detail:
        detail("step 1")
        time.sleep(0.2)
    assert "step 1" in terminal.getvalue()
    assert "\r\x1b[2K" in terminal.getvalue()
    assert "Working: 0." in terminal.getvalue()


def test_an_error_inside_ends_the_display(stream):
    before = threading.active_count()

    def fail():
        with progress("Working"):
            time.sleep(0.1)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert threading.active_count() == before
    assert "Working:" not in stream.getvalue()
