"""TensorFlow's chatter is kept off the terminal, and everything comes back afterwards."""

import io
import logging
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from respect_tf import _reporting
from respect_tf.tflite._silence import silenced

SCRIPT = """
import os, sys, threading
from respect_tf import _reporting
from respect_tf.tflite._silence import silenced
{body}
os.write(2, b"after-fd\\n"); print("after-err", file=sys.stderr); print("after-out")
"""


def _run(body: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return done.stdout, done.stderr


def test_chatter_of_every_kind_is_swallowed_and_our_messages_are_not():
    out, err = _run(
        """
with silenced() as chatter:
    os.write(2, b"native\\n"); print("python"); print("stderr", file=sys.stderr)
    _reporting.report("ours")
assert chatter.lines() == ["native", "stderr"], chatter.lines()
"""
    )
    assert out == "after-out\n"
    assert err == "ours\nafter-fd\nafter-err\n"


def test_verbose_2_lets_everything_through():
    out, err = _run(
        """
with silenced(verbose=2) as chatter:
    os.write(2, b"native\\n"); print("python")
assert chatter.lines() == []
"""
    )
    assert out == "python\nafter-out\n"
    assert err == "native\nafter-fd\nafter-err\n"


def test_streams_come_back_after_exceptions_and_ctrl_c():
    out, err = _run(
        """
for error in (ValueError, KeyboardInterrupt):
    try:
        with silenced() as chatter:
            os.write(2, b"native\\n")
            raise error
    except error:
        pass
    assert chatter.lines() == ["native"]
"""
    )
    assert (out, err) == ("after-out\n", "after-fd\nafter-err\n")


def test_a_log_handler_made_inside_a_block_works_after_it():
    _, err = _run(
        """
import logging
with silenced():
    logging.getLogger("made").addHandler(logging.StreamHandler())
logging.getLogger("made").error("logged")
"""
    )
    assert err == "logged\nafter-fd\nafter-err\n"


def test_it_works_with_standard_error_closed_or_missing():
    out, _ = _run(
        """
saved = os.dup(2)
sys.stderr = None
os.close(2)
with silenced() as chatter:
    print("python")
    _reporting.report("nowhere to go")
os.dup2(saved, 2)
sys.stderr = sys.__stderr__
"""
    )
    assert out == "after-out\n"


def test_nested_blocks_end_with_the_outermost_one():
    before = os.fstat(2)
    with silenced() as outer:
        with silenced() as inner:
            os.write(2, b"inner\n")
        os.write(2, b"outer\n")
        assert os.fstat(2) != before
        assert inner.lines() == ["inner"]
    assert outer.lines() == ["inner", "outer"]
    assert os.fstat(2) == before


def test_overlapping_blocks_of_threads_restore_everything_once():
    before = os.fstat(2), sys.stdout, warnings.filters[:]
    barrier = threading.Barrier(8, timeout=600)
    failures = []

    def work(number: int) -> None:
        try:
            barrier.wait()
            for _ in range(20):
                with silenced() as chatter:
                    os.write(2, f"thread {number}\n".encode())
                if f"thread {number}" not in chatter.lines():
                    failures.append(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (os.fstat(2), sys.stdout, warnings.filters[:]) == before


def test_no_file_descriptor_leaks():
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with silenced():
        pass
    before = count()
    for _ in range(20):
        with silenced():
            os.write(2, b"x")
    assert count() == before


def test_warnings_of_tensorflow_pass_and_those_of_users_stay_errors():
    scope = {"__name__": "tensorflow.lite.python.fake", "warnings": warnings}
    with silenced():
        exec("warnings.warn('old')", scope)
        with pytest.raises(UserWarning, match="mine"):
            warnings.warn("mine", stacklevel=1)
    with pytest.raises(UserWarning, match="old"):
        exec("warnings.warn('old')", scope)


def test_log_levels_are_raised_inside_only():
    logger = logging.getLogger("tensorflow")
    level = logger.level
    with silenced():
        assert logger.level == logging.ERROR
    assert logger.level == level


def test_messages_reach_a_notebooks_stream(monkeypatch):
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stderr", notebook)
    with silenced():
        _reporting.report("hello")
    assert notebook.getvalue() == "hello\n"


def test_without_a_temporary_folder_it_is_silent_all_the_same(monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", _no_space)
    with silenced() as chatter:
        os.write(2, b"native\n")
    assert chatter.lines() == []


def _no_space():
    raise OSError(28, "No space left on device")
