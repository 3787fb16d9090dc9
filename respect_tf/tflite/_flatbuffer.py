"""Reading and writing .tflite files.

Models come from anywhere, so whatever a damaged file makes the generated reader raise becomes an
`InvalidModelError`, every index in it is checked once, here, and the work is bounded by its size.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf._errors import (
    ArgumentError,
    InvalidModelError,
    RespectError,
    UnsupportedModelError,
)
from respect_tf.tflite._budget import ReadingBudget, bounded
from respect_tf.tflite._file_kinds import wrong_kind
from respect_tf.tflite._schema import op_type_names, schema, tensor_type_names

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # bytes, `force_align` of Buffer.data in the public schema
_MOST_DIMENSIONS = 32  # what numpy 1 takes; tensors of 160 public models have 5 at most
# Bytes of a custom op's name, which every op of that kind repeats; 34 at most in those models.
_LONGEST_CODE = 1024


def read_content(model: bytes | str | os.PathLike[str]) -> bytes:
    """The bytes of a model given as bytes or as the path of a file.

    Raises:
        ArgumentError: Neither bytes nor the path of a readable file.
    """
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if not isinstance(model, (str, os.PathLike)):
        raise ArgumentError(
            "Expected the bytes of a .tflite model or the path of one. "
            f"Received: {type(model).__name__}."
        )
    path = Path(model)
    try:
        # Of a pipe or a device nobody knows when it ends.
        is_special = path.exists() and not path.is_file()
        content = b"" if is_special else path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"The model file '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name with a NUL in it
        raise ArgumentError(f"The model file {str(path)!r} cannot be read: {error}.") from error
    if is_special:
        raise ArgumentError(f"'{path}' is no regular file. Expected a .tflite model.")
    return content


def read_model(content: bytes) -> Any:
    """Unpack a .tflite file into the schema's `ModelT`.

    Buffers are views of `content`, not copies.

    Raises:
        InvalidModelError: Not a TFLite file, truncated, or with indices out of range.
        UnsupportedModelError: Written with a newer schema, or with data outside the FlatBuffer.
    """
    budget = ReadingBudget(len(content), "TFLite model")
    with _reading(content), bounded(budget):
        model = schema().ModelT.InitFromObj(schema().Model.GetRootAs(content, 0))
        _inline_outside_data(model, content, budget)
        _check_indices(model)
    return model


@contextlib.contextmanager
def _reading(content: bytes) -> Iterator[None]:
    """Turn what damage makes the generated reader raise in the block into one kind of error."""
    if len(content) < 8 or content[4:8] != _IDENTIFIER:
        known = wrong_kind(bytes(content[:512]))
        raise InvalidModelError(
            f"This is no TFLite model. Expected the identifier {_IDENTIFIER!r} at byte 4. "
            f"Received: {bytes(content[4:8])!r}, {len(content)} bytes in all."
            f"{f' {known}' if known else ''}"
        )
    try:
        yield
    except (
        struct.error,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        if isinstance(error, RespectError):
            raise
        raise InvalidModelError(
            f"The TFLite model is damaged ({type(error).__name__}: {error}). "
            f"It has {len(content)} bytes. Export or copy it again."
        ) from error


def write_model(model: Any) -> bytes:
    """Pack a `ModelT` into the bytes of a .tflite file, buffers aligned to 16 bytes."""
    builder = _aligned_builder(_expected_size(model))
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def op_type(model: Any, operator: Any) -> str:
    """The type of an operator, `"CUSTOM:name"` for custom ones.

    Old files keep codes below 127 in `deprecatedBuiltinCode`; the larger one of both counts.
    """
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema().BuiltinOperator.CUSTOM:
        return f"CUSTOM:{text(code.customCode)}"
    return op_type_names()[number]


def text(value: bytes | str | None) -> str:
    """A string of the file; bytes that are no UTF-8 are shown as escapes."""
    if value is None:
        return ""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _expected_size(model: Any) -> int:
    """About the size of the packed model: a builder that has to grow copies everything."""
    size = 65536 + sum(len(b.data) + 64 for b in model.buffers if b.data is not None)
    for subgraph in model.subgraphs:
        size += 512 * len(subgraph.operators)
        for tensor in subgraph.tensors:
            affine = tensor.quantization
            channels = 0 if affine is None or affine.scale is None else len(affine.scale)
            size += 256 + len(tensor.name or "") + 12 * channels
    return size


def _aligned_builder(size: int) -> Any:
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """The Python writer ignores `force_align`; kernels on ARM and the Edge TPU rely on it."""

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
            wanted = _ALIGNMENT if elemSize == 1 else alignment
            return super().StartVector(elemSize, numElems, wanted)

    return AlignedBuilder(size)


def _inline_outside_data(model: Any, content: bytes, budget: ReadingBudget) -> None:
    """Fetch buffers that large files keep behind the FlatBuffer (`Buffer.offset`, `.size`)."""
    for index, buffer in enumerate(model.buffers or []):
        offset, size = getattr(buffer, "offset", 0), getattr(buffer, "size", 0)
        if offset > 1:
            if offset + size > len(content):
                raise InvalidModelError(
                    f"The TFLite model is damaged: buffer {index} ends at byte {offset + size}, "
                    f"but the file has {len(content)} bytes."
                )
            budget.spend(size)
            buffer.data = np.frombuffer(content, np.uint8, size, offset)
            buffer.offset = buffer.size = 0


def _check_indices(model: Any) -> None:
    """Check every index of the file against what it points into."""
    if not model.subgraphs:
        raise InvalidModelError("The TFLite model holds no subgraph.")
    model.buffers = model.buffers or []
    model.operatorCodes = model.operatorCodes or []
    newest = max(op_type_names())
    for index, code in enumerate(model.operatorCodes):
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in op_type_names():
            raise UnsupportedModelError(
                f"Operator code {index} of the TFLite model is {number}; this TensorFlow's schema "
                f"knows codes up to {newest}. The model was written by a newer converter."
            )
        if len(code.customCode or b"") > _LONGEST_CODE:
            raise InvalidModelError(
                f"The name of operator code {index} of the TFLite model has "
                f"{len(code.customCode)} bytes. Expected at most {_LONGEST_CODE}."
            )
    _check_names(model)
    for number, subgraph in enumerate(model.subgraphs):
        subgraph.tensors = subgraph.tensors if subgraph.tensors is not None else []
        subgraph.operators = subgraph.operators if subgraph.operators is not None else []
        where = f"subgraph {number}"
        for index, tensor in enumerate(subgraph.tensors):
            name = f"tensor {index} '{text(tensor.name)}' of {where}"
            _in_range(f"buffer of {name}", [tensor.buffer], len(model.buffers))
            if tensor.type not in tensor_type_names():
                raise UnsupportedModelError(f"The type of {name} is {tensor.type}, unknown here.")
            shape = ints(tensor.shape)
            if len(shape) > _MOST_DIMENSIONS:
                raise InvalidModelError(
                    f"The shape of {name} has {len(shape)} dimensions. Expected at most "
                    f"{_MOST_DIMENSIONS}."
                )
            if any(size < 0 for size in shape):
                raise InvalidModelError(f"The shape of {name} is {shape}. Expected no negatives.")
        count = len(subgraph.tensors)
        for kind in ("inputs", "outputs"):
            _in_range(f"{kind} of {where}", ints(getattr(subgraph, kind)), count)
        for index, operator in enumerate(subgraph.operators):
            name = f"op {index} of {where}"
            _in_range(f"operator code of {name}", [operator.opcodeIndex], len(model.operatorCodes))
            _in_range(f"inputs of {name}", ints(operator.inputs), count, lowest=-1)
            _in_range(f"outputs of {name}", ints(operator.outputs), count)
            _in_range(f"intermediates of {name}", ints(operator.intermediates), count)
            if getattr(operator, "largeCustomOptionsOffset", 0) > 1:
                raise UnsupportedModelError(
                    f"{name} keeps its options outside the FlatBuffer, which is not supported."
                )


def _check_names(model: Any) -> None:
    """Check what signatures and metadata point to."""
    for index, entry in enumerate(model.metadata or []):
        _in_range(f"metadata {index} '{text(entry.name)}'", [entry.buffer], len(model.buffers))
    for signature in model.signatureDefs or []:
        key = text(signature.signatureKey)
        _in_range(f"signature '{key}'", [signature.subgraphIndex], len(model.subgraphs))
        tensors = model.subgraphs[signature.subgraphIndex].tensors
        count = 0 if tensors is None else len(tensors)
        for entry in [*(signature.inputs or []), *(signature.outputs or [])]:
            _in_range(f"'{text(entry.name)}' of signature '{key}'", [entry.tensorIndex], count)


def ints(values: Any) -> list[int]:
    """A vector of the file, which may be absent, as a list."""
    return [] if values is None else [int(value) for value in values]


def has_data(model: Any, tensor: Any) -> bool:
    """Whether a tensor of the file has bytes of its own, as a constant does."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _in_range(what: str, values: list[int], count: int, lowest: int = 0) -> None:
    for value in values:
        if not lowest <= value < count:
            raise InvalidModelError(
                f"The TFLite model is damaged: {what} has the index {value}, expected "
                f"{lowest} to {count - 1}."
            )


def signature_names(model: Any) -> dict[int, str]:
    """What the model's first signature calls its inputs and outputs: tensor index -> name."""
    if not model.signatureDefs:
        return {}
    signature = model.signatureDefs[0]
    entries = [*(signature.inputs or []), *(signature.outputs or [])]
    return {int(entry.tensorIndex): text(entry.name) for entry in entries}
