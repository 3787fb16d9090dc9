"""Where a segment runs: in TFLite on the CPU, or on an Edge TPU by libedgetpu's delegate."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from respect_tf.run._bundle import run_script
from respect_tf.run.script._devices import runtime_library
from respect_tf.run.script._interpreters import Border, DeviceModel
from respect_tf.run.script._packages import InterpreterPackage, LoadError
from respect_tf.run.script._stages import LoadedModel
from respect_tf.run.script._trial import check_models
from respect_tf.segmentation import Segment, TensorSpec
from respect_tf.tflite import Interpreter


class CpuBackend:
    """Segments on the CPU, in this process or in a worker; see `respect_tf.tflite.Interpreter`."""

    def __init__(self, reset_states: bool = True) -> None:
        """Take note of whether recurrent ops begin each run anew."""
        self._reset_states = reset_states

    def load(self, segment: Segment, device: str = "cpu") -> LoadedModel:
        """A segment on the CPU.

        Raises:
            InterpreterError: TFLite refuses it.
        """
        return _CpuModel(segment, device, self._reset_states)


class _CpuModel:
    def __init__(self, segment: Segment, device: str, reset_states: bool) -> None:
        self.device = device
        self._reset_states = reset_states
        self._interpreter = Interpreter(segment.content, label=segment.label)

    @property
    def tf_interpreter(self) -> Any:
        return self._interpreter.tf_interpreter

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        return self._interpreter.run(inputs, reset_states=self._reset_states)

    def close(self) -> None:
        self._interpreter.close()


class EdgeTpuBackend:
    """Compiled segments on Edge TPUs, in this process, after each was tried in another one."""

    def __init__(
        self,
        package: InterpreterPackage,
        *,
        options: Mapping[str, str] | None = None,
        reset_states: bool = True,
    ) -> None:
        """Take note of the interpreter and the driver's options."""
        self.package = package
        self._library = runtime_library()
        self._options = dict(options or {})
        self._reset_states = reset_states
        self._locks: dict[str, threading.Lock] = {}

    def check(self, placed: Sequence[tuple[Segment, str]]) -> None:
        """Try compiled segments in a process of its own, once per model, library and interpreter.

        Raises:
            LoadError: One cannot be loaded or run, crashes or hangs.
        """
        models = [(_compiled(segment), device) for segment, device in placed]
        keys = [self._key(content) for content, _ in models]
        missing = [
            model
            for key, model in dict(zip(keys, models, strict=True)).items()
            if key not in _tried
        ]
        if missing:
            check_models(
                self.package,
                missing,
                program=run_script(),
                library=self._library,
                options=self._options,
            )
            _tried.update(keys)

    def load(self, segment: Segment, device: str) -> LoadedModel:
        """A compiled segment on a device; `check` comes first.

        Raises:
            LoadError: It cannot be loaded.
        """
        content = _compiled(segment)
        if self._key(content) not in _tried:
            self.check([(segment, device)])
        return DeviceModel(
            self.package,
            content,
            device,
            inputs=[_border(spec) for spec in segment.inputs],
            outputs=[_border(spec) for spec in segment.outputs],
            library=self._library,
            options=self._options,
            reset_states=self._reset_states,
        )

    def load_shared(self, segment: Segment, device: str) -> LoadedModel:
        """`load`, for a device that several segments use in turn."""
        lock = self._locks.setdefault(device, threading.Lock())
        return _InTurn(self.load(segment, device), lock)

    def _key(self, content: bytes) -> tuple[str, ...]:
        """What was tried; whatever of it changes has to be tried again."""
        digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        return (str(self.package), self._library, str(sorted(self._options.items())), digest)


class _InTurn:
    """A model on a device that others use as well."""

    def __init__(self, model: LoadedModel, lock: threading.Lock) -> None:
        self.device = model.device
        self._model = model
        self._lock = lock

    @property
    def tf_interpreter(self) -> Any:
        return getattr(self._model, "tf_interpreter", None)

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        with self._lock:
            return self._model.run(inputs)

    def close(self) -> None:
        self._model.close()


# What has run in a process of its own without harm.
_tried: set[tuple[str, ...]] = set()


def _compiled(segment: Segment) -> bytes:
    if segment.compiled is None:
        raise LoadError(f"{segment.label} is not compiled for the Edge TPU")
    return segment.compiled


def _border(spec: TensorSpec) -> Border:
    return spec.name, spec.dtype, tuple(spec.shape)
