"""Reading what Google's compiler wrote: the packages inside `*_edgetpu.tflite`.

A compiled model keeps the ops that stay on the CPU; all others are replaced by the custom op
`edgetpu-custom-op`. Its options are a FlexBuffer map whose entry "4" is a FlatBuffer, a package of
executables. Layout: `executable/executable.fbs` and `tflite/custom_op_data.cc` of
https://github.com/google-coral/libedgetpu.
"""

from __future__ import annotations

import collections
import struct
from typing import Any

from respect_tf._errors import InvalidModelError, UnsupportedModelError
from respect_tf.compile._compiled_values import (
    CompiledModel,
    EdgeTpuOp,
    Executable,
    ExecutableKind,
    Layer,
)
from respect_tf.compile._transfers import read_transfers
from respect_tf.tflite import EDGE_TPU_OP, FlatBufferTable, ReadingBudget, op_type, read_model

_IDENTIFIER = b"DWN1"
_VERSION_PREFIX = "cl/"
_MOST_CHIPS = (
    64  # kinds of chip that an op may hold packages for; a damaged count must not cost hours
)
_PACKAGE_KEY, _MORE_PACKAGES_KEY = "4", "7"
_KINDS: tuple[ExecutableKind, ...] = ("stand-alone", "parameter-caching", "execution-only")
_DATA_TYPES = {
    0: "uint8", 1: "uint16", 2: "int32", 3: "bfloat16", 4: "float16", 5: "float32", 8: "int8",
    9: "int16",
}  # fmt: skip


def read_compiled(content: bytes) -> CompiledModel | None:
    """Read a compiled model.

    Args:
        content: The bytes of a .tflite model.

    Returns:
        What it holds; None if it is a valid model that was not compiled.

    Raises:
        InvalidModelError: The model or a package in it is damaged.
        UnsupportedModelError: It was written with a newer schema of TFLite.
    """
    return compiled_of(read_model(content))


def compiled_of(model: Any) -> CompiledModel | None:
    """The same as `read_compiled` for a model that `read_model` has unpacked."""
    operators = model.subgraphs[0].operators
    kinds = [op_type(model, operator) for operator in operators]
    if EDGE_TPU_OP not in kinds:
        return None
    edge_tpu_ops = tuple(
        _edge_tpu_op(index, operators[index].customOptions)
        for index, kind in enumerate(kinds)
        if kind == EDGE_TPU_OP
    )
    counts = collections.Counter(kind for kind in kinds if kind != EDGE_TPU_OP)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return CompiledModel(edge_tpu_ops, dict(ranked))


def _edge_tpu_op(index: int, options: Any) -> EdgeTpuOp:
    content = b"" if options is None else bytes(options)
    budget = ReadingBudget(len(content), f"compiled model's op {index}")
    packages = [_package(package, budget) for package in _packages(content, index, budget)]
    # More than one package: the same part of the model for several kinds of chip.
    version, runtime, identifier, executables = packages[0]
    return EdgeTpuOp(index, version, runtime, identifier, executables)


def _packages(options: bytes, index: int, budget: ReadingBudget) -> list[bytes]:
    """The packages in the options of the op, a FlexBuffer map."""
    from flatbuffers import flexbuffers

    try:
        entries = flexbuffers.GetRoot(options).AsMap
        keys = [entries.Keys[number].AsKey for number in range(_few(len(entries)))]
        found = [entries[_PACKAGE_KEY]] if _PACKAGE_KEY in keys else []
        if _MORE_PACKAGES_KEY in keys:
            more = entries[_MORE_PACKAGES_KEY].AsVector
            found += [more[number] for number in range(_few(len(more)))]
        packages = []
        for entry in found:
            packages.append(entry.AsStringBytes)
            budget.spend(len(packages[-1]))
    except InvalidModelError:
        raise
    except (struct.error, TypeError, ValueError, IndexError, KeyError, AttributeError,
            AssertionError, OverflowError, RecursionError, MemoryError) as error:  # fmt: skip
        raise InvalidModelError(
            f"The compiled model is damaged: the options of op {index} (edgetpu-custom-op) are no "
            f"FlexBuffer map ({type(error).__name__}: {error}). Compile or copy it again."
        ) from error
    if not packages:
        raise InvalidModelError(
            f"The compiled model is damaged: the options of op {index} (edgetpu-custom-op) hold no "
            f"package. Expected it under the key '{_PACKAGE_KEY}'. "
            f"Received the keys: {[key[:20] for key in keys]}."
        )
    return packages


def _few(count: int) -> int:
    if count > _MOST_CHIPS:
        raise ValueError(f"{count} entries")
    return count


def _package(
    content: bytes, budget: ReadingBudget
) -> tuple[str | None, int, str, tuple[Executable, ...]]:
    package = FlatBufferTable.root(content, "package", _IDENTIFIER, budget=budget)
    nested = package.data(1)
    executables = FlatBufferTable.plain_root(nested, "table of executables", budget=budget).strings(
        0
    )
    if not executables:
        raise InvalidModelError(
            "The compiled model is damaged: its package holds no executable. Compile it again."
        )
    return (
        package.text(4).removeprefix(_VERSION_PREFIX) or None,
        package.int32(0),
        package.text(7),
        tuple(_executable(content, number, budget) for number, content in enumerate(executables)),
    )


def _executable(content: memoryview, number: int, budget: ReadingBudget) -> Executable:
    what = f"executable {number}"
    table = FlatBufferTable.plain_root(content, what, budget=budget)
    kind = table.int16(13)
    if not 0 <= kind < len(_KINDS):
        raise InvalidModelError(
            f"The compiled model is damaged, or newer than this release: {what} is of the kind "
            f"{kind}. Expected 0 to {len(_KINDS) - 1}."
        )
    streams = table.tables(5, f"{what}, instructions")
    instruction_sizes = [len(stream.data(0)) for stream in streams]
    return Executable(
        kind=_KINDS[kind],
        name=table.text(1),
        chip=table.text(10),
        batch_size=table.int32(3),
        parameter_bytes=len(table.data(6)),
        instruction_bytes=sum(instruction_sizes),
        scratch_bytes=table.int32(4),
        caching_token=table.uint64(14),
        inputs=tuple(_layer(layer) for layer in table.tables(8, f"{what}, input")),
        outputs=tuple(_layer(layer) for layer in table.tables(9, f"{what}, output")),
        transfers=read_transfers(table, instruction_sizes, what),
    )


def _layer(table: FlatBufferTable) -> Layer:
    numerics = table.table(5, "numbers of a layer")
    shape = table.table(10, "shape of a layer")
    ranges = [] if shape is None else shape.int32_pairs(0)
    data_type = table.int16(6)
    return Layer(
        name=table.text(0),
        dtype=_DATA_TYPES.get(data_type, f"type {data_type}"),
        shape=tuple(end - start + 1 for start, end in ranges)
        or tuple(table.int32(field) for field in (2, 3, 4)),
        num_bytes=table.int32(1),
        scale=0.0 if numerics is None else numerics.float32(1),
        zero_point=0 if numerics is None else numerics.int32(0),
    )


def sent_instructions(content: bytes) -> int | None:
    """Bytes of instructions that a compiled model sends at every inference.

    Args:
        content: The bytes of a .tflite model.

    Returns:
        None for a model that is not compiled, or whose package cannot be read.
    """
    try:
        compiled = read_compiled(content)
    except (InvalidModelError, UnsupportedModelError):
        return None  # what runs it judges it; a prediction can do without
    return None if compiled is None else compiled.run_instruction_bytes
