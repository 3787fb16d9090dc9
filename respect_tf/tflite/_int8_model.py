"""What a conversion gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from respect_tf.tflite._accuracy import Accuracy
from respect_tf.tflite._precision import (
    NonInt8Tensor,
)
from respect_tf.tflite._source import (
    SourceKind,
)
from respect_tf.tflite.rewrites import Rewritten


@dataclass(frozen=True)
class Int8Model:
    """A full-integer int8 model and where it came from.

    Attributes:
        content: The .tflite file.
        name: Usable as a file name.
        source: `"keras"`, `"tf_keras"`, `"saved_model"`, `"tflite"` or `"converter"`.
        input_names: What users call the inputs, in the order of the file: names of the Keras inputs
            or of the signature; tensor names where there is no signature.
        output_names: The same for the outputs.
        seconds: What TensorFlow took to trace and convert the model; 0 for a .tflite file.
        samples: A few calibration samples, input name -> array of batch 1 with the dtype of the
            float model; empty for a .tflite file or a configured converter.
        layer_names: Names of the Keras layers; empty where unknown.
        unpacked: The file as the schema's `ModelT`, so that nobody has to read it again. Not to be
            changed.
        rewritten: Ops that were rewritten before the model was quantised.
        accuracy: The int8 model against the float model on a few calibration samples; None where
            there was none.
        remarks: What the user has to know of rewriting and of accuracy.
        offers: Those of them that say what `rewrite="all"` would do.
        kind: What is said of a given file that is quantised in another way than full-integer int8.
        wide: Tensors that are not 8 bit and do not have to be something else.
    """

    content: bytes = field(repr=False)
    name: str
    source: SourceKind
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    seconds: float = field(default=0.0, compare=False)
    samples: tuple[dict[str, npt.NDArray[Any]], ...] = field(default=(), compare=False, repr=False)
    layer_names: tuple[str, ...] = field(default=(), repr=False)
    unpacked: Any = field(default=None, compare=False, repr=False)
    rewritten: tuple[Rewritten, ...] = field(default=(), repr=False)
    accuracy: Accuracy | None = field(default=None, compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)
    offers: tuple[str, ...] = field(default=(), compare=False, repr=False)
    kind: str | None = field(default=None, compare=False)
    wide: tuple[NonInt8Tensor, ...] = field(default=(), repr=False)
