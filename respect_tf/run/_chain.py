"""The segments run one after another on the CPU.

Any number of threads may use a chain. Each segment runs one input at a time, so they wait for each
other segment by segment, and never see each other's tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from respect_tf.segmentation import Segment
from respect_tf.tflite import Interpreter


class SegmentChain:
    """The segments of a pipeline on the CPU, handing tensors on by name."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        """Load every segment.

        Raises:
            InterpreterError: TFLite refuses a segment.
        """
        self._segments = tuple(segments)
        self._interpreters = [
            Interpreter(segment.content, label=segment.label) for segment in segments
        ]

    def run(
        self, inputs: Sequence[npt.NDArray[Any]], *, reset_states: bool = True
    ) -> list[npt.NDArray[Any]]:
        """Run once.

        Args:
            inputs: One array per input of the model, with its exact shape and dtype.
            reset_states: See `Interpreter.run`.

        Returns:
            One array per output of the model.
        """
        values = self.tensors(inputs, reset_states=reset_states)
        return [values[spec.name] for spec in self._segments[-1].outputs]

    def tensors(
        self, inputs: Sequence[npt.NDArray[Any]], *, reset_states: bool = True
    ) -> dict[str, npt.NDArray[Any]]:
        """Run once; what segments read and make, by name.

        Args:
            inputs: One array per input of the model, with its exact shape and dtype.
            reset_states: See `Interpreter.run`.
        """
        values = dict(zip((spec.name for spec in self._segments[0].inputs), inputs, strict=True))
        for segment, interpreter in zip(self._segments, self._interpreters, strict=True):
            made = interpreter.run(
                [values[spec.name] for spec in segment.inputs], reset_states=reset_states
            )
            values.update(zip((spec.name for spec in segment.outputs), made, strict=True))
        return values
