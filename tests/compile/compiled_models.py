"""Makes compiled models: .tflite files with an `edgetpu-custom-op` and a package of executables.

Written against the field numbers of libedgetpu's public `executable.fbs`, apart from the reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

from respect_tf.tflite import read_model, schema, text, write_model

STAND_ALONE, PARAMETER_CACHING, EXECUTION_ONLY = 0, 1, 2
OUTPUT, INPUT, PARAMETERS = 0, 1, 2  # what a range of a hint lies in


@dataclasses.dataclass(frozen=True)
class Program:
    """An executable to be written. Layers are (name, shape, scale, zero point).

    Hints are numbers of chunks of instructions, pairs (what a range lies in, bytes), or None for a
    fence; no table of them is written where they are None.
    """

    kind: int
    parameters: int = 0
    instructions: tuple[int, ...] = (64,)
    inputs: tuple[tuple[str, tuple[int, int, int], float, int], ...] = ()
    outputs: tuple[tuple[str, tuple[int, int, int], float, int], ...] = ()
    token: int = 7
    hints: tuple[int | tuple[int, int] | None, ...] | None = None
    complete: bool = True


def package(programs: Sequence[Program], *, runtime: int = 14, version: str = "cl/384591198"):
    """A package with these executables."""
    inner = flatbuffers.Builder(1024)
    executables = [inner.CreateString(executable(program)) for program in programs]
    strings = _vector(inner, executables)
    inner.StartObject(1)
    inner.PrependUOffsetTRelativeSlot(0, strings, 0)
    inner.Finish(inner.EndObject())

    outer = flatbuffers.Builder(1024)
    nested = outer.CreateByteVector(bytes(inner.Output()))
    name = outer.CreateString(version)
    outer.StartObject(8)
    outer.PrependInt32Slot(0, runtime, 0)
    outer.PrependUOffsetTRelativeSlot(1, nested, 0)
    outer.PrependUOffsetTRelativeSlot(4, name, 0)
    outer.Finish(outer.EndObject(), file_identifier=b"DWN1")
    return bytes(outer.Output())


def executable(program: Program) -> bytes:
    builder = flatbuffers.Builder(1024)
    name, chip = builder.CreateString("model"), builder.CreateString("beagle")
    streams = []
    for size in program.instructions:
        data = builder.CreateByteVector(b"\1" * size)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
        streams.append(builder.EndObject())
    bitstreams = _vector(builder, streams)
    parameters = builder.CreateByteVector(b"\2" * program.parameters)
    inputs = _vector(builder, [_layer(builder, *layer) for layer in program.inputs])
    outputs = _vector(builder, [_layer(builder, *layer) for layer in program.outputs])
    hints = None if program.hints is None else _hints(builder, program)
    builder.StartObject(17)
    builder.PrependUOffsetTRelativeSlot(1, name, 0)
    builder.PrependInt32Slot(3, 1, 0)
    builder.PrependUOffsetTRelativeSlot(5, bitstreams, 0)
    builder.PrependUOffsetTRelativeSlot(6, parameters, 0)
    if hints is not None:
        builder.PrependUOffsetTRelativeSlot(7, hints, 0)
    builder.PrependUOffsetTRelativeSlot(8, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(9, outputs, 0)
    builder.PrependUOffsetTRelativeSlot(10, chip, 0)
    builder.PrependInt16Slot(13, program.kind, 0)
    builder.PrependUint64Slot(14, program.token, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"DWN1")
    return bytes(builder.Output())


def _hints(builder, program: Program) -> int:
    written = []
    for hint in program.hints or ():
        kind = 4 if hint is None else 1 if isinstance(hint, tuple) else 2
        if isinstance(hint, tuple):
            builder.StartObject(4)
            builder.PrependInt16Slot(0, hint[0], 0)
            place = builder.EndObject()
        builder.StartObject(3)
        if isinstance(hint, tuple):
            builder.PrependUOffsetTRelativeSlot(0, place, 0)
            builder.PrependInt32Slot(2, hint[1], 0)
        elif hint is not None:
            builder.PrependInt32Slot(0, hint, 0)
        body = builder.EndObject()
        builder.StartObject(3)
        builder.PrependUint8Slot(0, kind, 0)
        builder.PrependUOffsetTRelativeSlot(1, body, 0)
        written.append(builder.EndObject())
    vector = _vector(builder, written)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.PrependBoolSlot(1, program.complete, 0)
    return builder.EndObject()


def _layer(builder, name: str, shape, scale: float, zero_point: int) -> int:
    label = builder.CreateString(name)
    builder.StartObject(2)
    builder.PrependInt32Slot(0, zero_point, 0)
    builder.PrependFloat32Slot(1, scale, 0.0)
    numerics = builder.EndObject()
    builder.StartObject(11)
    builder.PrependUOffsetTRelativeSlot(0, label, 0)
    builder.PrependInt32Slot(1, int(np.prod(shape)), 0)
    for field, size in zip((2, 3, 4), shape, strict=True):
        builder.PrependInt32Slot(field, size, 0)
    builder.PrependUOffsetTRelativeSlot(5, numerics, 0)
    return builder.EndObject()


def _vector(builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def options(*packages: bytes) -> bytes:
    """The options of an `edgetpu-custom-op` that holds these packages."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("1")
        builder.Int(0)
        builder.Key("4")
        _string(builder, packages[0])
        builder.Key("5")
        builder.Int(-1)
        builder.Key("6")
        with builder.Vector():
            for _ in packages:
                builder.Int(1)
        builder.Key("7")
        with builder.Vector():
            for more in packages[1:]:
                _string(builder, more)
    return bytes(builder.Finish())


def _string(builder, content: bytes) -> None:
    """A string of any bytes, as the compiler writes it; the public method takes text only."""
    builder._WriteBlob(content, append_zero=True, type_=flexbuffers.Type.STRING)


def compile_ops(content: bytes, num_mapped: int, custom_options: bytes) -> bytes:
    """A model whose first ops became one `edgetpu-custom-op`; the rest stays on the CPU."""
    model = read_model(content)
    main = model.subgraphs[0]
    mapped, rest = main.operators[:num_mapped], main.operators[num_mapped:]
    if mapped:
        made = {int(t) for op in mapped for t in op.outputs}
        needed = {int(t) for op in rest for t in op.inputs} | {int(t) for t in main.outputs}
        code = schema().OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.CUSTOM
        code.customCode = "edgetpu-custom-op"
        code.version = 1
        model.operatorCodes.append(code)
        operator = schema().OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs = np.array(main.inputs, np.int32)
        operator.outputs = np.array(sorted(made & needed), np.int32)
        operator.customOptions = np.frombuffer(custom_options, np.uint8)
        main.operators = [operator, *rest]
    model.description = "Exported from Subgraph."
    return write_model(model)


def compiled_like(content: bytes, *, cached: int = 256, streamed: int = 0) -> bytes:
    """A fully mapped twin of a model, with parameters of these sizes."""
    main: Any = read_model(content).subgraphs[0]

    def layers(tensors) -> tuple:
        return tuple((text(main.tensors[int(t)].name), (4, 4, 8), 0.05, 131) for t in tensors)

    hints = (0, 1, (INPUT, 128), (PARAMETERS, streamed), (OUTPUT, 128), None)
    run = Program(EXECUTION_ONLY, streamed, (640, 64), layers(main.inputs), layers(main.outputs))
    programs = [
        dataclasses.replace(run, hints=hints),
        Program(PARAMETER_CACHING, cached, (128,)),
    ]
    return compile_ops(content, len(main.operators), options(package(programs)))
