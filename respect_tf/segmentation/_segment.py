"""`Segment`: one stage of the pipeline as a .tflite model."""

from __future__ import annotations

import dataclasses

from respect_tf.graph import Quantization


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor at the border of a segment.

    Attributes:
        name: Its name in the segments' files; the pipeline runner matches tensors by it.
        tensor: Its index in the whole model.
        dtype: numpy's name, for example `"int8"`.
        shape: Its shape, batch included.
        quantization: Scale and zero point, or None.
    """

    name: str
    tensor: int
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None


@dataclasses.dataclass(frozen=True)
class Segment:
    """One stage of the pipeline.

    Attributes:
        index: The stage, from 0.
        name: Base name of its file, `MODEL_segment_I_of_N`.
        content: The bytes of its .tflite model.
        inputs: What it reads, in the model's order.
        outputs: What it makes for later segments or as the pipeline's result, in the model's order.
        ops: Indices of its ops in the whole model, in the order they run. Ops that only carry a
            tensor under a new name come after them in the file and are not listed.
        on_cpu: Whether it is a CPU stage, which is never compiled and runs on the host.
        compiled: The bytes of its compiled model, or None.
        compile_log: What the compiler printed when it made it, or None.
    """

    index: int
    name: str
    content: bytes = dataclasses.field(repr=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: tuple[int, ...]
    on_cpu: bool = False
    compiled: bytes | None = dataclasses.field(default=None, repr=False)
    compile_log: str | None = dataclasses.field(default=None, repr=False)

    @property
    def label(self) -> str:
        """How messages name it; its name has the model's in it."""
        return f"segment {self.index} '{self.name}'"

    @property
    def compiled_file(self) -> str:
        """The name that Google's compiler gives its compiled model."""
        return f"{self.name}_edgetpu.tflite"
