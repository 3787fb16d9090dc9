"""Trying models in a process of its own, before they may run in this one.

The wrong pair of libedgetpu and interpreter ends in a segmentation fault.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf.run.script._advice import what_fits
from respect_tf.run.script._interpreters import DeviceModel
from respect_tf.run.script._packages import (
    CHECK_NAME,
    InterpreterPackage,
    LoadError,
    find_package,
)

# To import an interpreter, and per model: a USB device loads its firmware first, about 3 s.
_CHECK_SECONDS = 60.0
_CHECK_SECONDS_PER_MODEL = 30.0

_BOOT = (
    "import sys, types; "
    "read = sys.stdin.buffer; "
    "module = types.ModuleType({name!r}); sys.modules[module.__name__] = module; "
    "text = read.read(int(read.readline())); "
    "exec(compile(text, 'run_pipeline.py', 'exec'), module.__dict__); module.check_main()"
)


def check_models(
    package: InterpreterPackage,
    models: Sequence[tuple[bytes, str]],
    *,
    program: bytes,
    library: str,
    options: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> None:
    """Load models onto devices and run each once, in a process of its own.

    Args:
        package: The interpreter.
        models: Bytes of compiled models, each with the device to try it on.
        program: The text of `run_pipeline.py`, which that process executes.
        library: libedgetpu's file.
        options: Its options.
        timeout: Seconds for all of it; a guess by the number of models if left out.

    Raises:
        LoadError: That process fails, crashes or hangs; the message names the device.
    """
    header = {
        "package": package.name,
        "library": library,
        "options": dict(options or {}),
        "models": [[len(content), device] for content, device in models],
        "path": [path for path in sys.path if isinstance(path, str)],
    }
    request = b"%d\n%s%s\n" % (len(program), program, json.dumps(header).encode())
    request += b"".join(content for content, _ in models)
    seconds = timeout or _CHECK_SECONDS + _CHECK_SECONDS_PER_MODEL * len(models)
    command = [sys.executable or "python3", "-W", "ignore", "-c", _BOOT.format(name=CHECK_NAME)]
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, timeout=seconds, check=False
        )
        output, noise, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, noise, status = late.stdout or b"", late.stderr or b"", None
    except OSError as error:
        raise LoadError(f"Python cannot be started to try the models: {error}") from error
    lines = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    last = lines[-1] if lines else {}
    if last.get("done"):
        return
    if "error" in last:
        raise LoadError(last["error"])
    at = f" on {last['device']}" if "device" in last else ""
    words = noise.decode("utf-8", "replace").strip().splitlines()
    said = f"; it said: {words[-1][:200]}" if words else ""
    if status is None:
        raise LoadError(f"trying the model{at} hangs, no answer within {seconds:g} s{said}")
    how = f"ended with exit status {status}"
    if status < 0:
        how = f"died of signal {_signal_name(-status)}"
    raise LoadError(
        f"the process that tried {package} with libedgetpu{at} {how}{said}. {what_fits(package)}"
    )


def check_main() -> None:
    """What that process does; says in JSON lines what it is at."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**what: Any) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    header = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = header["path"]
    try:
        package = find_package(header["package"]) or InterpreterPackage(header["package"], "?")
        for size, device in header["models"]:
            content = sys.stdin.buffer.read(size)
            say(device=device)
            model = DeviceModel(
                package,
                content,
                device,
                library=header["library"],
                options=header["options"],
            )
            model.run([np.zeros(d["shape"], d["dtype"]) for d in model.inputs])
            model.close()
            del model
        say(done=True)
    except (LoadError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        say(error=said if isinstance(error, LoadError) else f"a run fails: {said}")
    answers.close()
    sys.stderr.flush()
    os._exit(0)  # a driver's threads may crash at a proper end


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
