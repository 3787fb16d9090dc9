"""A segment in a TFLite interpreter, on an Edge TPU by libedgetpu's delegate or on the CPU.

The wrong pair of libedgetpu and interpreter ends in a segmentation fault, so a pair, and every
model, is tried in a process of its own first (`check_models`). This file imports nothing of ours,
as that process runs it alone.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# In the order in which they are looked for: import name, name for pip.
PACKAGES = (
    ("ai_edge_litert", "ai-edge-litert"),
    ("tflite_runtime", "tflite-runtime"),
    ("tensorflow", "tensorflow"),
)
# Back to back over USB one attempt in five fails, so five in a row fail once in 3,000 times.
LOAD_ATTEMPTS = 5
_PAUSE_SECONDS = 0.3
# To import an interpreter, and per model: a USB device loads its firmware first, about 3 s.
_CHECK_SECONDS = 60.0
_CHECK_SECONDS_PER_MODEL = 30.0
_OPTIONS = {
    "Performance": re.compile("Low|Medium|High|Max"),
    "Usb.AlwaysDfu": re.compile("True|False|true|false|0|1"),
    "Usb.MaxBulkInQueueLength": re.compile("[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]"),
}

Border = tuple[str, str, tuple[int, ...]]  # name, type and shape of a tensor


class LoadError(Exception):
    """A model cannot be loaded onto a device; the message says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class InterpreterPackage:
    """A Python package with TFLite's interpreter.

    Attributes:
        name: Its import name.
        version: Its version; "unknown" where it is not said.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def module(self) -> Any:
        """The module with `Interpreter` and `load_delegate`.

        Raises:
            LoadError: It cannot be imported.
        """
        try:
            if self.name != "tensorflow":
                return importlib.import_module(f"{self.name}.interpreter")
            _prepare_tensorflow()
            return importlib.import_module("tensorflow.lite.python.interpreter")
        except (ImportError, OSError, AttributeError) as error:
            raise LoadError(f"{self} cannot be imported: {error}") from error


def find_package(wanted: str | None = None) -> InterpreterPackage | None:
    """The first interpreter package that is installed, or None.

    Args:
        wanted: Import name of the one that is to be taken; any if left out.
    """
    for name, distribution in PACKAGES:
        if wanted in (None, name) and importlib.util.find_spec(name) is not None:
            try:
                return InterpreterPackage(name, importlib.metadata.version(distribution))
            except importlib.metadata.PackageNotFoundError:
                return InterpreterPackage(name, "unknown")
    return None


def checked_options(options: Mapping[str, Any] | None) -> dict[str, str]:
    """The driver's options as texts.

    Raises:
        ValueError: An option or its value is none of libedgetpu's.
    """
    found = {}
    for name, value in (options or {}).items():
        pattern = _OPTIONS.get(name)
        if pattern is None:
            raise ValueError(
                f"libedgetpu's options are {', '.join(_OPTIONS)}. Received: {name!r}. The device "
                "is chosen by devices."
            )
        if not pattern.fullmatch(str(value)):
            raise ValueError(f"Option {name} must be {pattern.pattern}. Received: {value!r}.")
        found[name] = str(value)
    return found


class DeviceModel:
    """A segment in an interpreter; any thread may run it, one at a time."""

    def __init__(
        self,
        package: InterpreterPackage,
        content: bytes,
        device: str = "cpu",
        *,
        inputs: Sequence[Border] | None = None,
        outputs: Sequence[Border] | None = None,
        library: str = "",
        options: Mapping[str, str] | None = None,
        attempts: int = LOAD_ATTEMPTS,
        reset_states: bool = True,
        num_threads: int = 1,
    ) -> None:
        """Load a model onto a device.

        Args:
            package: The interpreter.
            content: Bytes of the compiled model, or for the CPU of the segment.
            device: What libedgetpu calls the device, as "usb:0", or "cpu".
            inputs: Name, type and shape of what it has to read, in the order for `run`; the file's
                own order if left out.
            outputs: The same of what it has to make.
            library: libedgetpu's file.
            options: Its options.
            attempts: How often the delegate is tried.
            reset_states: Whether recurrent ops begin each run with a fresh state.
            num_threads: CPU threads of ops that run on the CPU.

        Raises:
            LoadError: It cannot be loaded.
        """
        self.device = device
        self._reset_states = reset_states
        self._lock = threading.Lock()
        self._interpreter: Any = None
        module = package.module()
        delegates = []
        if device != "cpu":
            asked = {"device": device, **(options or {})}
            delegates = [_delegate(module, library, asked, attempts)]
        refused = ""
        try:
            self._interpreter = _interpreter(module, content, delegates, num_threads)
            self._interpreter.allocate_tensors()
            self.inputs = _ordered(self._interpreter.get_input_details(), inputs)
            self.outputs = _ordered(self._interpreter.get_output_details(), outputs)
        except (RuntimeError, ValueError) as error:
            self._interpreter = None
            refused = " ".join(str(error).split()) or type(error).__name__
        if refused:
            # Outside of the handler: the error knows the interpreter, which holds the device.
            raise LoadError(
                f"{package} cannot load the model on {device}: {refused}{hint(refused)}"
            )

    @property
    def tf_interpreter(self) -> Any:
        """The interpreter itself; None once it is closed."""
        return self._interpreter

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run once; an array per input in and per output out, in their order."""
        with self._lock:
            if self._interpreter is None:
                raise RuntimeError("it was closed")
            failed = ""
            try:
                return self._run(inputs)
            except (RuntimeError, ValueError) as error:
                failed = " ".join(str(error).split()) or type(error).__name__
        # Outside of the handler: the error knows the interpreter, which holds the device.
        raise RuntimeError(failed + hint(failed))

    def _run(self, inputs: Sequence[Any]) -> list[Any]:
        if self._reset_states:
            self._interpreter.reset_all_variables()
        for detail, value in zip(self.inputs, inputs):
            self._interpreter.set_tensor(detail["index"], value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self.outputs]

    def close(self) -> None:
        """Give the device back. While it runs, nothing can be done, and nothing is."""
        if self._lock.acquire(blocking=False):
            try:
                self._interpreter = None  # and with it the delegate, in the right order
            finally:
                self._lock.release()


def _ordered(details: list[Any], wanted: Sequence[Border] | None) -> list[Any]:
    """Details of inputs or outputs in the order that is wanted."""
    if wanted is None:
        return details
    by_name = {detail["name"]: detail for detail in details}
    found = {
        name: (name, np.dtype(detail["dtype"]).name, tuple(map(int, detail["shape"])))
        for name, detail in by_name.items()
    }
    for border in wanted:
        if found.get(border[0]) != border or len(details) != len(wanted):
            raise ValueError(
                f"it has {list(found.values())}, expected {list(wanted)}: it is not the compiled "
                "model of this segment"
            )
    return [by_name[name] for name, _, _ in wanted]


def _delegate(module: Any, library: str, options: Mapping[str, str], attempts: int) -> Any:
    device = options["device"]
    for attempt in range(1, attempts + 1):
        try:
            return module.load_delegate(library, dict(options))
        except (ValueError, OSError) as error:
            if attempt == attempts or isinstance(error, OSError):
                said = " ".join(str(error).split())
                raise LoadError(
                    f"the delegate of {library} cannot be loaded for {device} "
                    f"({attempt} attempts): {said}. Is the device plugged in, not in use by "
                    "another process, and open to this user (groups plugdev and apex)?"
                ) from error
        time.sleep(_PAUSE_SECONDS)
    raise LoadError("no attempt was allowed")


def _interpreter(module: Any, content: bytes, delegates: list[Any], num_threads: int) -> Any:
    options: dict[str, Any] = {"model_content": content, "num_threads": num_threads}
    if delegates:
        options["experimental_delegates"] = delegates
    if hasattr(module, "OpResolverType"):
        # XNNPACK's kernels round differently from the builtin ones, which everything is proved by.
        kind = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_op_resolver_type"] = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow says that the class moves to another package
        return module.Interpreter(**options)


def _prepare_tensorflow() -> None:
    """Let TFLite's interpreter be imported without the rest of TensorFlow, in a process of ours.

    It takes 0.1 s instead of 3.5 s. Where TensorFlow is imported already, that is left as it is.
    """
    if "tensorflow" in sys.modules or __name__ not in ("__main__", _CHECK_NAME):
        return
    spec = importlib.util.find_spec("tensorflow")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations or []) if spec else []
    package.__spec__ = spec
    sys.modules["tensorflow"] = package


def hint(said: str) -> str:
    """What a message of TFLite or libedgetpu means; empty where that is not known."""
    found = re.search(r"requires runtime version \((\d+)\).*this runtime version \((\d+)\)", said)
    if found:
        return (
            f". The model was compiled for a newer Edge TPU runtime: compile it with "
            f"'edgetpu_compiler -m {found[2]}', or install a newer libedgetpu"
        )
    if "edgetpu-custom-op" in said and ("unresolved" in said or "Didn't find" in said):
        return ". It is compiled for the Edge TPU, and no delegate took it"
    if "custom op handler" in said or "single_input_size" in said:
        return ". libedgetpu and the interpreter do not fit together"
    if "Didn't find op for builtin opcode" in said:
        return (
            ". The interpreter is older than the TensorFlow that made the model, as tflite_runtime "
            "2.5 is for most: install ai-edge-litert"
        )
    return ""


_CHECK_NAME = "respect_tf_check"
_BOOT = (
    "import importlib.util, sys; "
    "spec = importlib.util.spec_from_file_location({name!r}, sys.argv[1]); "
    "module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module; "
    "spec.loader.exec_module(module); module.check_main()"
)


def check_models(
    package: InterpreterPackage,
    models: Sequence[tuple[bytes, str]],
    *,
    library: str,
    options: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> None:
    """Load models onto devices and run each once, in a process of its own.

    Args:
        package: The interpreter.
        models: Bytes of compiled models, each with the device to try it on.
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
    request = json.dumps(header).encode() + b"\n" + b"".join(content for content, _ in models)
    seconds = timeout or _CHECK_SECONDS + _CHECK_SECONDS_PER_MODEL * len(models)
    command = [sys.executable or "python3", "-W", "ignore", "-c", _BOOT.format(name=_CHECK_NAME)]
    try:
        done = subprocess.run(
            [*command, __file__], input=request, capture_output=True, timeout=seconds, check=False
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


def what_fits(package: InterpreterPackage | None = None) -> str:
    """What to install on this machine: which libedgetpu goes with which interpreter."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    system = f"Python {python} on {platform.machine() or 'this machine'}"
    debian = installed_runtime()
    here = f"Here is libedgetpu {debian}" if debian else "Here"
    here += f" with {package}" if package else ""
    if debian == "16.0" and package and not fits_google(package):
        here += ", and Google's libedgetpu 16.0 works with tflite_runtime 2.5.0 to 2.11.1 only"
    old = sys.version_info[:2] <= (3, 9)
    choice = "either Google's libedgetpu1-std 16.0 with tflite_runtime 2.5.0, or " if old else ""
    return (
        f"{here}. For {system}: {choice}'pip install ai-edge-litert' with libedgetpu "
        "16.0TF2.19.1 or newer of https://github.com/feranick/libedgetpu; or tflite_runtime of "
        "https://github.com/feranick/TFlite-builds with the libedgetpu of the same number"
    )


def fits_google(package: InterpreterPackage) -> bool:
    """Whether an interpreter is known to work with Google's own libedgetpu 16.0."""
    numbers = re.findall(r"\d+", package.version)[:2]
    if package.name == "ai_edge_litert" or len(numbers) < 2:
        return False
    return (2, 5) <= (int(numbers[0]), int(numbers[1])) <= (2, 11)


def installed_runtime(status: str = "/var/lib/dpkg/status") -> str:
    """The version of Debian's package libedgetpu1-std or -max; empty if there is none."""
    try:
        text = Path(status).read_text("utf-8", "replace")
    except OSError:
        return ""
    for block in text.split("\n\n"):
        if re.search(r"^Package: libedgetpu1-(std|max)$", block, re.MULTILINE):
            found = re.search(r"^Version: (.+)$", block, re.MULTILINE)
            if found and "ok installed" in block:
                return found[1].strip()
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
