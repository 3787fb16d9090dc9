"""Files whose offsets point at one part again and again are refused before they cost anything."""

import flatbuffers
import numpy as np
import pytest
from flatbuffers import flexbuffers
from model_builder import ModelBuilder

import respect_tf
from respect_tf import InvalidModelError, OpGraph
from respect_tf.compile import read_compiled
from respect_tf.tflite import read_model, schema, write_model
from respect_tf.tflite._budget import ReadingBudget

_AGAIN = "again and again"


class _Writer:
    """Writes tables by field number, which may point to what is there already."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1024)

    def table(self, **fields):
        """Fields are named `o3` (an offset), `i2` (32 bits) or `b1` (8 bits)."""
        self.builder.StartObject(max(int(name[1:]) for name in fields) + 1)
        for name, value in fields.items():
            slot = {
                "o": self.builder.PrependUOffsetTRelativeSlot,
                "i": self.builder.PrependUint32Slot,
                "b": self.builder.PrependUint8Slot,
            }[name[0]]
            slot(int(name[1:]), value, 0)
        return self.builder.EndObject()

    def vector(self, offset, times=1):
        self.builder.StartVector(4, times, 4)
        for _ in range(times):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def finish(self, root, identifier=b"TFL3"):
        self.builder.Finish(root, file_identifier=identifier)
        return bytes(self.builder.Output())


def _many_subgraphs(times):
    """Model: version, operator codes, subgraphs, ... SubGraph: tensors, ... Tensor: ..., name."""
    writer = _Writer()
    tensor = writer.table(o3=writer.builder.CreateString("t" * 100))
    subgraph = writer.table(o0=writer.vector(tensor, 1000))
    return writer.finish(writer.table(i0=3, o2=writer.vector(subgraph, times)))


def _nested(times):
    """Vectors in vectors: subgraphs, tensors, dimensions of a sparse tensor."""
    writer = _Writer()
    dimensions = writer.vector(writer.table(i1=5), times)
    tensor = writer.table(o6=writer.table(o2=dimensions))
    subgraph = writer.table(o0=writer.vector(tensor, times))
    return writer.finish(writer.table(i0=3, o2=writer.vector(subgraph, times)))


def _one_name(times):
    writer = _Writer()
    tensor = writer.table(o3=writer.builder.CreateString("t" * 5000))
    subgraph = writer.table(o0=writer.vector(tensor, times))
    return writer.finish(writer.table(i0=3, o2=writer.vector(subgraph)))


def _one_buffer(times):
    writer = _Writer()
    buffer = writer.table(o0=writer.builder.CreateByteVector(bytes(5000)))
    return writer.finish(writer.table(i0=3, o4=writer.vector(buffer, times)))


def _one_entry_of_a_signature(times):
    writer = _Writer()
    entry = writer.table(o0=writer.builder.CreateString("n" * 5000))
    signature = writer.table(o0=writer.vector(entry, times))
    return writer.finish(writer.table(i0=3, o7=writer.vector(signature)))


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (_many_subgraphs(20_000), 90_000),
        (_nested(50), 900),
        (_one_name(1000), 10_000),
        (_one_buffer(1000), 10_000),
        (_one_entry_of_a_signature(1000), 10_000),
    ],
)
def test_a_part_that_is_pointed_at_again_and_again_is_refused(content, size):
    assert len(content) < size
    for read in (read_model, OpGraph.from_tflite, respect_tf.inspect):
        with pytest.raises(InvalidModelError, match=_AGAIN) as caught:
            read(content)
        assert f"{len(content)} bytes" in str(caught.value)


def test_bytes_behind_the_flatbuffer_count_for_each_buffer_that_has_them():
    model = read_model(ModelBuilder(0).build([]))
    model.buffers = [schema().BufferT() for _ in range(100)]
    for buffer in model.buffers:
        buffer.offset, buffer.size = 8, 10_000
    content = write_model(model)
    with pytest.raises(InvalidModelError, match=_AGAIN):
        read_model(content + bytes(10_000))


def test_a_writer_may_share_names():
    builder = ModelBuilder()
    tensor = builder.input("x")
    for _ in range(20):
        tensor = builder.relu(tensor)
    content = builder.build([tensor])
    model = read_model(content)
    for entry in model.subgraphs[0].tensors:
        entry.name = "a name that every tensor has"
    assert OpGraph.from_tflite(write_model(model)).num_ops == 20


def test_tables_are_counted_however_small():
    budget = ReadingBudget(10**9, "file")
    for _ in range(2**18):
        budget.spend_table(4)
    with pytest.raises(InvalidModelError, match=r"more than 262144 tables .* 1000000000 bytes"):
        budget.spend_table(4)


def _compiled(executable_times=1, layer_times=1, packages=1):
    """A compiled model that points at one executable, at one layer and at one package often."""
    inner = _Writer()
    layer = inner.table(o0=inner.builder.CreateString("x" * 500))
    program = inner.finish(inner.table(o8=inner.vector(layer, layer_times)), b"DWN1")
    table = _Writer()
    text = table.builder.CreateByteVector(program)
    listed = table.finish(table.table(o0=table.vector(text, executable_times)))
    outer = _Writer()
    nested = outer.builder.CreateByteVector(listed)
    package = outer.finish(outer.table(i0=14, o1=nested), b"DWN1")
    builder = flexbuffers.Builder(share_strings=True)
    with builder.Map():
        builder.Key("4")
        builder._WriteBlob(package, append_zero=True, type_=flexbuffers.Type.STRING)
        builder.Key("7")
        with builder.Vector():
            for _ in range(packages - 1):
                builder._stack.append(builder._stack[1])
    model = read_model(_small())
    code, operator = schema().OperatorCodeT(), schema().OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.CUSTOM
    code.customCode = "edgetpu-custom-op"
    operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    model.operatorCodes, model.subgraphs[0].operators = [code], [operator]
    return write_model(model)


def _small():
    builder = ModelBuilder()
    return builder.build([builder.relu(builder.input())])


def test_one_of_each_is_read():
    assert len(read_compiled(_compiled()).edge_tpu_ops[0].executables) == 1


@pytest.mark.parametrize(
    "often", [{"executable_times": 3000}, {"layer_times": 3000}, {"packages": 60}]
)
def test_packages_are_read_within_the_same_budget(often):
    content = _compiled(**often)
    assert len(content) < 30_000
    for read in (read_compiled, respect_tf.inspect):
        with pytest.raises(InvalidModelError, match=_AGAIN):
            read(content)
