"""A segment in a TFLite interpreter, on an Edge TPU by libedgetpu's delegate or on the CPU.

The wrong pair of libedgetpu and interpreter ends in a segmentation fault: `check_models` tries a
pair, and every model, in a process of its own first.
"""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf.run.script._advice import hint
from respect_tf.run.script._packages import InterpreterPackage, LoadError

# Back to back over USB one attempt in five fails, so five in a row fail once in 3,000 times.
LOAD_ATTEMPTS = 5
_PAUSE_SECONDS = 0.3
_OPTIONS = {
    "Performance": re.compile("Low|Medium|High|Max"),
    "Usb.AlwaysDfu": re.compile("True|False|true|false|0|1"),
    "Usb.MaxBulkInQueueLength": re.compile("[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]"),
}

Border = tuple[str, str, tuple[int, ...]]  # name, type and shape of a tensor


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
