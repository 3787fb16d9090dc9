"""Small float .tflite models of single ops, without a converter."""

from __future__ import annotations

import numpy as np
from model_builder import ModelBuilder

from respect_tf.tflite import mark_made_here, schema


class FloatModel(ModelBuilder):
    """As `ModelBuilder`, in float32."""

    def given(self, shape) -> int:
        tensor = self.tensor(f"layer_{len(self.inputs)}/x", shape, "FLOAT32", scale=None)
        self.inputs.append(tensor)
        return tensor

    def number(self, value, dtype: str = "FLOAT32") -> int:
        array = np.asarray(value, {"FLOAT32": np.float32, "INT32": np.int32}[dtype])
        return self.tensor("constant", array.shape, dtype, data=array, scale=None)

    def make(
        self,
        kind: str,
        inputs,
        shape,
        *,
        version: int = 1,
        options: str = "",
        dtype: str = "FLOAT32",
        **fields,
    ) -> int:
        out = self.tensor(f"model/layer/{kind}", shape, dtype, scale=None)
        settings = getattr(schema(), f"{options}OptionsT")() if options else None
        for name, value in fields.items():
            setattr(settings, name, value)
        self.op(kind, inputs, [out], settings, version)
        return out

    def content(self, *outputs: int) -> bytes:
        made = self.build(list(outputs))
        mark_made_here(made)
        return made
