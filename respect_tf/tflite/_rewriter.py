"""The float model of a conversion: what is rewritten in it, the proof, and how far int8 is off."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InterpreterError, RespectError
from respect_tf._reporting import Verbosity, report
from respect_tf.tflite._accuracy import Accuracy, compare_layers, compare_outputs, float_outputs
from respect_tf.tflite._flatbuffer import read_model
from respect_tf.tflite._interpreter import mark_made_here
from respect_tf.tflite._static_batch import fix_batch
from respect_tf.tflite.rewrites import (
    APPROXIMATE,
    MOST_SAMPLES,
    RewriteMode,
    Rewritten,
    describe_rewritten,
    is_equal,
    largest_difference,
    rewrite,
)

Array = npt.NDArray[Any]

# Of the conversion's time, for the float model and for the int8 model each: a tenth in all.
_SHARE = 0.05
_LAYER_SAMPLES = 2  # that layers are compared on, where outputs are far off


class Rewriter:
    """Rewrites the float model of one conversion.

    Attributes:
        mode: What is rewritten.
        applied: What was rewritten in the model that was quantised last.
        difference: The largest difference of float outputs that this brought, relative to the
            largest value of each output.
        remarks: What could be rewritten with `"all"`, and is not.
    """

    def __init__(self, mode: RewriteMode, verbose: Verbosity) -> None:
        self.mode: RewriteMode = mode
        self.applied: tuple[Rewritten, ...] = ()
        self.difference = 0.0
        self.remarks: tuple[str, ...] = ()
        self._started = time.monotonic()
        self._samples: list[list[Array]] = []
        self._outputs: list[list[Array]] = []
        self._file: IO[bytes] | None = None
        self._verbose = verbose
        self._name = "the model"
        self._layer_names: Sequence[str] = ()
        self._dataset: Any = None

    def use(self, name: str, layer_names: Sequence[str], dataset: Any) -> None:
        """Take what is known of the model.

        Args:
            name: For messages.
            layer_names: Names of the Keras layers, if known.
            dataset: The converter's representative dataset.
        """
        self._name, self._layer_names, self._dataset = name, layer_names, dataset

    def edit(self, content: bytes) -> bytes:
        """The float model as it is to be quantised."""
        self.applied, self.difference, self.remarks = (), 0.0, ()
        mark_made_here(content)
        self._samples = self._taken()
        self._remember(content)
        if self.mode == "off":
            return content
        fixed = self._with_fixed_batch(content)
        found = rewrite(fixed, self.mode, layer_names=self._layer_names)
        if self.mode == "safe":
            self.remarks = _approximations(found.content, self._layer_names)
        if not found.applied:
            return content
        samples = self._samples
        if samples:
            mark_made_here(fixed)
            mark_made_here(found.content)
            self.difference = largest_difference(fixed, found.content, samples)
            approximate = found.tolerance == float("inf")
            if not approximate and not is_equal(self.difference):
                report(
                    f"warning: '{self._name}' is not rewritten: its outputs would differ by "
                    f"{self.difference:.2g} of their largest value, where the rules "
                    f"{', '.join(sorted({item.rule for item in found.applied}))} promise rounding. "
                    "Please report this with the model.",
                    verbose=self._verbose,
                )
                return content
        self.applied = found.applied
        return found.content

    def _with_fixed_batch(self, content: bytes) -> bytes:
        """The model with a batch of 1: rules need every size; as it is where that cannot be."""
        try:
            return fix_batch(content, read_model(content))
        except RespectError:  # said when the converted model is fixed in the same way
            return content

    def refused(self, error: Exception) -> None:
        """TFLite cannot quantise the rewritten model."""
        rules = ", ".join(sorted({item.rule for item in self.applied}))
        self.applied, self.difference = (), 0.0
        report(
            f"warning: '{self._name}' is not rewritten: TFLite quantises it, but not its rewritten "
            f"form ({rules}): {str(error)[:200] or type(error).__name__}. Please report this with "
            "the model.",
            verbose=self._verbose,
        )

    def compare(self, model: Any, content: bytes, output_names: Sequence[str]) -> Accuracy | None:
        """The int8 model against the float model, layer by layer where it is far off.

        Args:
            model: The int8 model, unpacked.
            content: Its bytes.
            output_names: Of its outputs.

        Returns:
            None where there are no samples in the order of the file.
        """
        if not self._outputs:
            return None
        seconds = _SHARE * (time.monotonic() - self._started)
        accuracy = compare_outputs(
            model, content, self._samples, self._outputs, output_names, seconds=seconds
        )
        if accuracy.is_good or self._file is None:
            return accuracy
        self._file.seek(0)
        plain = self._file.read()
        mark_made_here(plain)
        layers = compare_layers(
            plain, content, self._samples[:_LAYER_SAMPLES], layer_names=self._layer_names
        )
        return dataclasses.replace(accuracy, layers=layers)

    def close(self) -> None:
        """Forget the float model."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _remember(self, content: bytes) -> None:
        """Run the float model while it is there; keep it on disk, where it needs no memory."""
        self.close()
        self._outputs = []
        if not self._samples:
            return
        seconds = _SHARE * (time.monotonic() - self._started)
        try:
            self._outputs = float_outputs(content, self._samples, seconds)
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
            self._file.write(content)
        except (InterpreterError, OSError):
            self.close()  # no op of it, or no room: what is compared is left out

    def _taken(self) -> list[list[Array]]:
        """Samples in the order of the file, as far as they come in it: lists, not dicts."""
        make: Callable[[], Any] | None = getattr(self._dataset, "input_gen", self._dataset)
        if not callable(make):
            return []
        samples = []
        for sample in islice(make(), MOST_SAMPLES):
            if not isinstance(sample, list | tuple):
                return []
            samples.append([np.asarray(value) for value in sample])
        return samples


def _approximations(content: bytes, layer_names: Sequence[str]) -> tuple[str, ...]:
    """What `"all"` would rewrite besides, a line for each kind of op."""
    found = rewrite(content, "all", layer_names=layer_names).applied
    approximate = [item for item in found if item.rule in APPROXIMATE]
    return tuple(
        f'{line}. No equal form of it runs on an Edge TPU; rewrite="all" uses this one'
        for line in describe_rewritten(approximate)
    )
