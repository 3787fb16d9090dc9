"""How far an int8 model is from the float model that it was made of: outputs, and every layer."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.tflite._flatbuffer import has_data, ints, op_type, read_model, text
from respect_tf.tflite._interpreter import Interpreter
from respect_tf.tflite._precision import layer_of
from respect_tf.tflite._schema import tensor_type_names

Array = npt.NDArray[Any]
Arrays = Sequence[Array]

MOST_SAMPLES = 16
"""Samples that an int8 model is compared with its float model on, at most."""

WORST_ERROR = 0.2
"""Relative error of an output from which on a conversion is warned of."""

LEAST_AGREEMENT = 0.9
"""Share of samples with the same largest class below which a conversion is warned of."""

# A layer that adds this much to the error of what it reads is named: a quarter of a warning.
_JUMP = 0.05
_MOST_NAMED = 3


@dataclass(frozen=True)
class OutputAccuracy:
    """One output of the int8 model against the float model's.

    Attributes:
        name: The output.
        relative_error: Euclidean norm of the difference, over all samples, divided by that of the
            float output.
        agreement: Share of samples with the same largest value, for outputs that are vectors;
            values that are equal within a step of the int8 output are ties. None for others.
    """

    name: str
    relative_error: float
    agreement: float | None

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to warn of."""
        agrees = self.agreement is None or self.agreement >= LEAST_AGREEMENT
        return self.relative_error <= WORST_ERROR and agrees


@dataclass(frozen=True)
class LayerError:
    """What one op of the int8 model makes, against the tensor of that name in the float model.

    Attributes:
        op_index: The op in the int8 model.
        op_type: Its type.
        tensor: The tensor's name.
        layer: The Keras layer it comes from, as far as known; else empty.
        relative_error: As for outputs.
        added_error: By how much it is above the largest error of what the op reads.
    """

    op_index: int
    op_type: str
    tensor: str
    layer: str
    relative_error: float
    added_error: float


@dataclass(frozen=True)
class Accuracy:
    """An int8 model against its float model.

    Attributes:
        num_samples: Samples compared.
        outputs: One entry for each output.
        layers: One for each tensor that both models have; empty where only outputs were compared.
    """

    num_samples: int
    outputs: tuple[OutputAccuracy, ...]
    layers: tuple[LayerError, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to warn of."""
        return all(output.is_good for output in self.outputs)

    @property
    def jumps(self) -> tuple[LayerError, ...]:
        """Layers that add five points and more to the error, in the order of the ops."""
        return tuple(layer for layer in self.layers if layer.added_error >= _JUMP)

    def warning(self) -> str | None:
        """What a user has to know, or None."""
        bad = [output for output in self.outputs if not output.is_good]
        if not bad:
            return None
        said = ", ".join(
            f"'{output.name}' by {output.relative_error:.0%}"
            + (
                ""
                if output.agreement is None
                else f" (the largest class is the same for {output.agreement:.0%})"
            )
            for output in bad
        )
        message = (
            f"int8 differs from float on {self.num_samples} calibration "
            f"sample{'s' if self.num_samples > 1 else ''}: {said}."
        )
        if self.jumps:
            named = ", ".join(
                f"{layer.op_type} {layer.layer or layer.tensor!r} ({layer.relative_error:.0%})"
                for layer in self.jumps[:_MOST_NAMED]
            )
            message += f" The error jumps first at {named}."
        return (
            message + " respect_tf.compare(model, pipeline, samples) shows every layer; more and "
            "more typical calibration samples, or smaller ranges of values there, make it less."
        )


def float_outputs(content: bytes, samples: Sequence[Arrays], seconds: float) -> list[list[Array]]:
    """What a float model makes of samples, as far as there is time; of one at least.

    Args:
        content: The model, made in this process.
        samples: Arrays by input, in the order of the file.
        seconds: How long it may take.
    """
    started, outputs = time.monotonic(), []
    with Interpreter(content, label="the float model") as interpreter:
        for sample in samples[:MOST_SAMPLES]:
            outputs.append(interpreter.run(sample))
            if time.monotonic() - started > seconds:
                break
    return outputs


def compare_outputs(
    model: Any,
    content: bytes,
    samples: Sequence[Arrays],
    expected: Sequence[Arrays],
    names: Sequence[str],
    *,
    seconds: float = float("inf"),
) -> Accuracy:
    """Run an int8 model on the samples that a float model was run on.

    Args:
        model: The int8 model, unpacked.
        content: Its bytes.
        samples: Float arrays by input, in the order of the file.
        expected: Float arrays by output, for each sample.
        names: Of the outputs.
        seconds: How long it may take; one sample is compared at least.
    """
    started, found = time.monotonic(), []
    with Interpreter(content, label="the int8 model") as interpreter:
        for sample, _ in zip(samples, expected, strict=False):
            found.append(interpreter.run(_stored(model, sample)))
            if time.monotonic() - started > seconds:
                break
    tensors = ints(model.subgraphs[0].outputs)
    outputs = []
    for position, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        pairs = [
            (np.asarray(wanted[position]), _real(model, tensor, made[position]))
            for wanted, made in zip(expected, found, strict=False)
        ]
        step = _scale(model, tensor)[0]
        outputs.append(OutputAccuracy(name, _relative(pairs), _agreement(pairs, step)))
    return Accuracy(len(found), tuple(outputs))


def compare_layers(
    float_content: bytes,
    content: bytes,
    samples: Sequence[Arrays],
    *,
    layer_names: Collection[str] = (),
) -> tuple[LayerError, ...]:
    """Compare every tensor that an int8 model has in common with its float model.

    Args:
        float_content: The float model, before it was rewritten.
        content: The int8 model.
        samples: Float arrays by input, in the order of the file.
        layer_names: Names of the Keras layers, if known.
    """
    plain, model = read_model(float_content), read_model(content)
    places = {text(t.name): i for i, t in enumerate(plain.subgraphs[0].tensors)}
    pairs = {
        index: places[text(tensor.name)]
        for index, tensor in enumerate(model.subgraphs[0].tensors)
        if text(tensor.name) in places and _is_compared(model, tensor)
    }
    for attribute in ("inputs", "outputs"):  # whose names are the user's by now
        both = (ints(getattr(m.subgraphs[0], attribute)) for m in (model, plain))
        pairs.update(zip(*both, strict=True))
    squares: dict[int, npt.NDArray[np.float64]] = {}
    with (
        Interpreter(float_content, keep_inner_tensors=True, label="the float model") as exact,
        Interpreter(content, keep_inner_tensors=True, label="the int8 model") as stored,
    ):
        for sample in samples:
            exact.run(sample)
            stored.run(_stored(model, sample))
            for index, place in pairs.items():
                wanted = exact.tensor(place).astype(np.float64)
                made = _real(model, index, stored.tensor(index))
                if wanted.size == made.size:
                    sums = [np.sum((wanted.ravel() - made.ravel()) ** 2), np.sum(wanted**2)]
                    squares[index] = squares.get(index, np.zeros(2)) + sums
    errors = {
        index: float(np.sqrt(sums[0] / max(sums[1], 1e-24))) for index, sums in squares.items()
    }
    return _by_op(model, errors, layer_names)


def _by_op(
    model: Any, errors: dict[int, float], layer_names: Collection[str]
) -> tuple[LayerError, ...]:
    """Errors in the order of the ops; ops without one hand on the largest that they read."""
    subgraph = model.subgraphs[0]
    carried = dict(errors)
    layers = []
    for number, operator in enumerate(subgraph.operators):
        read = max((carried.get(t, 0.0) for t in ints(operator.inputs) if t >= 0), default=0.0)
        for tensor in ints(operator.outputs):
            carried.setdefault(tensor, read)
            if tensor in errors:
                name = text(subgraph.tensors[tensor].name)
                kind = op_type(model, operator)
                layers.append(
                    LayerError(
                        number, kind, name, layer_of(name, layer_names), errors[tensor],
                        errors[tensor] - read,
                    )
                )  # fmt: skip
    return tuple(layers)


def _is_compared(model: Any, tensor: Any) -> bool:
    dtype = tensor_type_names()[tensor.type]
    return dtype in ("int8", "uint8", "float32") and not has_data(model, tensor)


def _stored(model: Any, sample: Arrays) -> list[Array]:
    """A float sample as the model's inputs take it."""
    stored = []
    for tensor, value in zip(ints(model.subgraphs[0].inputs), sample, strict=True):
        dtype = np.dtype(tensor_type_names()[model.subgraphs[0].tensors[tensor].type])
        scale, zero_point = _scale(model, tensor)
        array = np.asarray(value)
        if dtype.kind in "iu" and scale:
            limits = np.iinfo(dtype)
            scaled = np.round(array / np.float32(scale)) + zero_point
            array = np.clip(scaled, limits.min, limits.max)
        stored.append(array.astype(dtype))
    return stored


def _real(model: Any, tensor: int, value: Array) -> npt.NDArray[np.float64]:
    """A tensor's values as numbers, not as they are stored."""
    scale, zero_point = _scale(model, tensor)
    real = value.astype(np.float64)
    return (real - zero_point) * scale if scale and value.dtype.kind in "iu" else real


def _scale(model: Any, tensor: int) -> tuple[float, int]:
    affine = model.subgraphs[0].tensors[tensor].quantization
    if affine is None or affine.scale is None or len(affine.scale) != 1:
        return 0.0, 0
    return float(affine.scale[0]), int(affine.zeroPoint[0])


def _relative(pairs: Sequence[tuple[Array, Array]]) -> float:
    difference = sum(float(np.sum((np.asarray(w, np.float64) - m) ** 2)) for w, m in pairs)
    size = sum(float(np.sum(np.asarray(w, np.float64) ** 2)) for w, _ in pairs)
    if size == 0.0:
        return 0.0 if difference == 0.0 else float("inf")
    return float(np.sqrt(difference / size))


def _agreement(pairs: Sequence[tuple[Array, Array]], step: float) -> float | None:
    wanted = pairs[0][0]
    if wanted.dtype.kind != "f" or wanted.ndim < 2 or wanted.shape[-1] != wanted.size:
        return None
    if wanted.size < 2:
        return None
    same = [w.reshape(-1)[int(m.reshape(-1).argmax())] >= w.max() - 1.01 * step for w, m in pairs]
    return float(np.mean(same))
