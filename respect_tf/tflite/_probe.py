"""Trying models from elsewhere in a process of their own, so that a crash harms nobody."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from respect_tf._errors import InterpreterError
from respect_tf._reporting import Verbosity, progress

_SCRIPT = Path(__file__).with_name("_probe_script.py")
_TIMEOUT_SECONDS = 600


def mark_harmless(content: bytes) -> None:
    """Note that a model was made here, by TensorFlow's own converter, and needs no probe."""
    _harmless.add(_digest(content))


def probe(content: bytes, *, verbose: Verbosity = 0) -> None:
    """Run a model once in a child process, unless it is known to be harmless.

    The child is started at the first call, which takes as long as importing TensorFlow, and is
    kept for the next ones.

    Args:
        content: The model's bytes.
        verbose: 0 is silence.

    Raises:
        InterpreterError: The model kills the interpreter, or the interpreter refuses it.
    """
    digest = _digest(content)
    if digest in _harmless:
        return
    with progress("Trying the model in a process of its own", verbose=verbose):
        said = _child.ask(content)
    if said is not None:
        raise InterpreterError(f"TFLite cannot run the model: {said}")
    _harmless.add(digest)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=32).digest()


class _Child:
    """The process that models are tried in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._chatter: IO[bytes] | None = None

    def ask(self, content: bytes) -> str | None:
        """What the interpreter says about a model; None if it runs.

        Raises:
            InterpreterError: The process died of the model, or did not answer.
        """
        with self._lock:
            process = self._running()
            stdin, stdout = process.stdin, process.stdout
            if stdin is None or stdout is None:
                raise InterpreterError("The probe was started without pipes.")
            try:
                stdin.write(len(content).to_bytes(8, "little") + content)
                stdin.flush()
                ready, _, _ = select.select([stdout], [], [], _TIMEOUT_SECONDS)
                answer = stdout.readline() if ready else b""
            except BrokenPipeError:
                ready, answer = [stdout], b""
            except BaseException:
                # An answer that is still to come would be taken for that of the next model.
                self._end(kill=True)
                raise
            if answer:
                said: str | None = json.loads(answer)
                return said
            cause = self._end(kill=not ready)
            if not ready:
                cause = f"does not finish one inference within {_TIMEOUT_SECONDS} s"
            raise InterpreterError(
                f"The model {cause} in TensorFlow's TFLite interpreter, so nothing can be run or "
                "proved here. Convert it again with a current TensorFlow."
            )

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._chatter = tempfile.TemporaryFile()  # noqa: SIM115 - `_end` closes it
            self._process = subprocess.Popen(
                [sys.executable, str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._chatter,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        return self._process

    def _end(self, *, kill: bool = False) -> str:
        """Clean up after the process, and say what it died of."""
        process, chatter = self._process, self._chatter
        self._process = self._chatter = None
        if process is None or chatter is None:
            return ""
        if kill:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            # A process that died with part of a model unread breaks the pipe.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        status = process.wait()  # it ends when its input ends
        chatter.seek(0)
        words = chatter.read().decode("utf-8", "replace").strip().splitlines()
        chatter.close()
        cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
        return f"causes a crash ({cause}{'; ' + words[-1] if words else ''})"


# Digests of models that are known not to kill the process that runs them.
_harmless: set[bytes] = set()
_child = _Child()
atexit.register(_child.close)
