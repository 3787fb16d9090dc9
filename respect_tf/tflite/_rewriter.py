"""Rewriting within a conversion: rules, proof on samples, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import RespectError
from respect_tf._reporting import Verbosity, report
from respect_tf.tflite._flatbuffer import read_model
from respect_tf.tflite._interpreter import mark_made_here
from respect_tf.tflite._static_batch import fix_batch
from respect_tf.tflite.rewrites import (
    MOST_SAMPLES,
    RewriteMode,
    Rewritten,
    is_equal,
    largest_difference,
    rewrite,
)


class Rewriter:
    """Rewrites the float model of one conversion.

    Attributes:
        applied: What was rewritten in the model that was quantised last.
        difference: The largest difference of float outputs that this brought, relative to the
            largest value of each output.
    """

    def __init__(self, mode: RewriteMode, verbose: Verbosity) -> None:
        self.applied: tuple[Rewritten, ...] = ()
        self.difference = 0.0
        self._mode: RewriteMode = mode
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
        self.applied, self.difference = (), 0.0
        if self._mode == "off":
            return content
        mark_made_here(content)
        fixed = self._with_fixed_batch(content)
        found = rewrite(fixed, self._mode, layer_names=self._layer_names)
        if not found.applied:
            return content
        samples = self._samples()
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

    def _samples(self) -> list[list[npt.NDArray[Any]]]:
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
