"""Running a .tflite model on the CPU of this process.

Every model is run with TFLite's builtin kernels and no delegate: XNNPACK's kernels round
differently from the first convolution on, so whole model and segments must use the same ones.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
import types
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InterpreterError
from respect_tf.tflite._silence import silenced


class LocalModel:
    """A .tflite model in this process, which dies with it where the model makes TFLite crash."""

    def __init__(
        self, content: bytes, *, keep_inner_tensors: bool, num_threads: int, label: str
    ) -> None:
        """Load a model and allocate its tensors; see `Interpreter`."""
        self._label = label
        self.run_seconds = 0.0
        lite = _lite()
        try:
            with warnings.catch_warnings():
                # TensorFlow announces there that the class moves to another package.
                warnings.simplefilter("ignore")
                self.tf_interpreter: Any = lite.Interpreter(
                    model_content=content,
                    num_threads=num_threads,
                    experimental_op_resolver_type=(
                        lite.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                    ),
                    experimental_preserve_all_tensors=keep_inner_tensors,
                )
            self.tf_interpreter.allocate_tensors()
            self._inputs = self.tf_interpreter.get_input_details()
            self._outputs = self.tf_interpreter.get_output_details()
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"TFLite cannot load {label}: {error}") from error

    def run(
        self, inputs: Sequence[npt.NDArray[Any]], *, reset_states: bool = True
    ) -> list[npt.NDArray[Any]]:
        """Run once; see `Interpreter`."""
        started = time.perf_counter()
        try:
            if reset_states:
                self.tf_interpreter.reset_all_variables()
            for detail, value in zip(self._inputs, inputs, strict=True):
                self.tf_interpreter.set_tensor(detail["index"], np.asarray(value, order="C"))
            self.tf_interpreter.invoke()
            outputs = [self.tf_interpreter.get_tensor(detail["index"]) for detail in self._outputs]
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"TFLite cannot run {self._label}: {error}") from error
        self.run_seconds = time.perf_counter() - started
        return outputs

    def tensor(self, index: int) -> npt.NDArray[Any]:
        """A copy of a tensor of the last run, by its index in the file."""
        try:
            value: npt.NDArray[Any] = self.tf_interpreter.get_tensor(index)
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(
                f"TFLite cannot read tensor {index} of {self._label}: {error}"
            ) from error
        return value

    def close(self) -> None:
        """Nothing is to be ended here; TFLite frees the model when nobody knows it any more."""

    finish = kill = close

    def forget(self) -> None:
        """A forked process has a copy of the whole model, which it may go on with."""


def import_interpreter_alone() -> None:
    """Import TFLite's interpreter without the rest of TensorFlow, for a process that needs no more.

    It is the same library with the same kernels. Measured with TensorFlow 2.19: 0.1 s and 58 MB
    instead of 3.5 s and 666 MB. Where a version of TensorFlow does not allow that, all is imported.
    """
    package = types.ModuleType("tensorflow")
    spec = importlib.util.find_spec("tensorflow")
    package.__path__ = list(spec.submodule_search_locations or []) if spec else []
    package.__spec__ = spec
    sys.modules["tensorflow"] = package
    try:
        _lite()
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]:
            del sys.modules[name]
        _lite()


@functools.cache
def _lite() -> Any:
    with silenced():  # the first import of TensorFlow announces what it could be compiled for
        from tensorflow.lite.python import interpreter

    return interpreter
