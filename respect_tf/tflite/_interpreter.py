"""Running .tflite models on the CPU.

Every model is run with TFLite's builtin kernels and no delegate: XNNPACK's kernels round
differently from the first convolution on, so whole model and segments must use the same ones.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InterpreterError
from respect_tf.tflite._silence import silenced


class Interpreter:
    """A .tflite model, ready to run.

    Inputs and outputs go by position, in the order of the file: names need not be unique.
    """

    def __init__(
        self,
        content: bytes,
        *,
        keep_inner_tensors: bool = False,
        num_threads: int = 1,
        label: str = "the model",
    ) -> None:
        """Load a model and allocate its tensors.

        Args:
            content: The model's bytes.
            keep_inner_tensors: Whether `tensor` can be asked for every tensor after `run`.
            num_threads: CPU threads. The builtin kernels' threads wait for each other by spinning:
                on a machine that has other work, two take longer than one.
            label: How messages name the model.

        Raises:
            InterpreterError: TFLite refuses the model.
        """
        self._label = label
        lite = _lite()
        try:
            with warnings.catch_warnings():
                # TensorFlow announces there that the class moves to another package.
                warnings.simplefilter("ignore")
                self._interpreter: Any = lite.Interpreter(
                    model_content=content,
                    num_threads=num_threads,
                    experimental_op_resolver_type=(
                        lite.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                    ),
                    experimental_preserve_all_tensors=keep_inner_tensors,
                )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"TFLite cannot load {label}: {error}") from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run once, from a fresh state.

        Args:
            inputs: One array per model input, with its exact shape and dtype.

        Returns:
            One array per model output.

        Raises:
            InterpreterError: An op fails, or an input does not fit.
        """
        try:
            # Recurrent ops keep state between runs; every run here starts anew.
            self._interpreter.reset_all_variables()
            for detail, value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(detail["index"], np.asarray(value, order="C"))
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"TFLite cannot run {self._label}: {error}") from error
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._outputs]

    @property
    def tf_interpreter(self) -> Any:
        """TensorFlow's own interpreter, for its details of inputs and outputs."""
        return self._interpreter

    def tensor(self, index: int) -> npt.NDArray[Any]:
        """A copy of a tensor of the last run, by its index in the file."""
        value: npt.NDArray[Any] = self._interpreter.get_tensor(index)
        return value


@functools.cache
def _lite() -> Any:
    with silenced():  # the first import of TensorFlow announces what it could be compiled for
        from tensorflow.lite.python import interpreter

    return interpreter
