"""Metadata is where TFLite's libraries look for it, and changes nothing else."""

import contextlib
import io
import zipfile

import flatbuffers
import numpy as np
import pytest
from flatbuffers import number_types
from flatbuffers.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

import respect_tf
from respect_tf import ArgumentError, InvalidModelError, segment
from respect_tf.graph import op_graph_of
from respect_tf.run import create_runner
from respect_tf.segmentation import Metadata, check_runner_rules, cut, read_metadata, verify
from respect_tf.segmentation._metadata_writer import MetadataWriter
from respect_tf.tflite import read_model, text, write_model


class _Reader:
    """A table of a FlatBuffer, read field by field."""

    def __init__(self, content, position):
        self._table = Table(content, position)

    @classmethod
    def root(cls, content):
        return cls(content, flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0))

    def _at(self, field):
        offset = self._table.Offset(4 + 2 * field)
        return offset and offset + self._table.Pos

    def string(self, field):
        return self._table.String(self._at(field)).decode()

    def byte(self, field):
        return self._table.Get(number_types.Uint8Flags, self._at(field))

    def table(self, field):
        return _Reader(self._table.Bytes, self._table.Indirect(self._at(field)))

    def tables(self, field):
        at = self._at(field)
        if not at:
            return []
        start = self._table.Vector(at - self._table.Pos)
        return [
            _Reader(self._table.Bytes, self._table.Indirect(start + 4 * index))
            for index in range(self._table.VectorLen(at - self._table.Pos))
        ]

    def floats(self, field):
        offset = self._at(field) - self._table.Pos
        return self._table.GetVectorAsNumpy(number_types.Float32Flags, offset).tolist()


_SHAPE = (1, 4, 4, 3)


def _entries(model):
    return [entry for entry in model.metadata or [] if text(entry.name) == "TFLITE_METADATA"]


def _metadata(content):
    """The subgraph's metadata, and the model's name."""
    model = read_model(content)
    (entry,) = _entries(model)
    packed = bytes(model.buffers[entry.buffer].data)
    assert packed[4:8] == b"M001"
    root = _Reader.root(packed)
    assert root.string(7) == "1.0.0"
    (subgraph,) = root.tables(3)
    return subgraph, root.string(0)


@pytest.fixture(scope="module")
def model():
    builder = ModelBuilder()
    tensor = builder.conv(builder.input(channels=3))
    return builder.build([builder.conv(builder.relu(tensor), 5)], metadata={"kept": b"bytes"})


@pytest.fixture(scope="module")
def segments(model):
    return segment(model, [0, 1, 2])


@pytest.fixture(scope="module")
def described(segments):
    metadata = Metadata(mean=[1, 2, 3], std=127.5, labels=["ant", "bee", "größe", "dog", "elk"])
    return metadata.describe(
        {"image": segments[0].inputs[0].shape}, {"scores": segments[-1].outputs[0].shape}
    )


def _cut(model, stages, interface, name="zoo"):
    unpacked = read_model(model)
    stages = np.array(stages, np.int32)
    return cut(unpacked, op_graph_of(unpacked), stages, name=name, interface=interface)


def test_the_first_segment_describes_the_inputs(model, segments, described):
    written = _cut(model, [0, 1, 2], described)
    subgraph, name = _metadata(written[0].content)
    assert name == "zoo"
    (image,) = subgraph.tables(2)
    assert image.string(0) == "image"
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    assert unit.table(1).floats(0) == [1, 2, 3]
    assert unit.table(1).floats(1) == [127.5]
    assert image.table(3).byte(0) == 2  # ImageProperties
    assert image.table(3).table(1).byte(0) == 1  # RGB
    stats = image.table(5)  # scale 0.05, zero point 3
    assert stats.floats(0) == pytest.approx([6.2])
    assert stats.floats(1) == pytest.approx([-6.55])
    (made,) = subgraph.tables(3)
    assert made.string(0) == segments[0].outputs[0].name
    assert not made.tables(4)


def test_the_last_segment_carries_the_labels(model, described):
    content = _cut(model, [0, 1, 2], described)[-1].content
    subgraph, _ = _metadata(content)
    (scores,) = subgraph.tables(3)
    (file,) = scores.tables(6)
    assert scores.string(0) == "scores"
    assert file.byte(2) == 2  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [file.string(0)]
        labels = archive.read(file.string(0)).decode()
    assert labels.splitlines() == ["ant", "bee", "größe", "dog", "elk"]
    assert not subgraph.tables(2)[0].tables(4)


def test_nothing_else_changes(model, segments, described):
    written = _cut(model, [0, 1, 2], described)
    assert written[1].content == segments[1].content
    check_runner_rules(written)
    verify(model, written)
    with create_runner(written, device="cpu") as runner:
        runner.push({"input_0": np.zeros((1, 4, 4, 3), np.int8)})
        assert runner.pop() is not None
    assert _cut(model, [0, 1, 2], described) == written  # the same bytes
    # Written again, it replaces what was there.
    (whole,) = _cut(model, [0, 0, 0], described)
    again = _cut(whole.content, [0, 1, 2], described, name="other")
    assert [_metadata(again[place].content)[1] for place in (0, -1)] == ["other", "other"]


def test_a_single_segment_describes_both(model, described):
    (whole,) = _cut(model, [0, 0, 0], described)
    subgraph, _ = _metadata(whole.content)
    assert subgraph.tables(2)[0].string(0) == "image"
    assert subgraph.tables(3)[0].string(0) == "scores"
    assert "kept" in {text(entry.name) for entry in read_model(whole.content).metadata}


def test_the_manifest_gets_what_is_known(described):
    (image,), (scores,) = described.inputs, described.outputs
    normalization = {"mean": [1.0, 2.0, 3.0], "std": [127.5]}
    assert image.to_dict() == {"normalization": normalization}
    assert scores.to_dict() == {"labels": ["ant", "bee", "größe", "dog", "elk"]}


def test_metadata_can_be_read_back(model, described):
    (whole,) = _cut(model, [0, 0, 0], described)
    found = read_metadata(whole.content, ["image"], ["scores"])
    assert found.mean == {"image": (1, 2, 3)}
    assert found.std == {"image": (127.5,)}
    assert found.labels == {"scores": ["ant", "bee", "größe", "dog", "elk"]}
    assert read_metadata(model, ["image"], ["scores"]) is None


def test_a_given_model_keeps_its_metadata(model, described):
    (whole,) = _cut(model, [0, 0, 0], described)
    pipeline = respect_tf.convert(whole.content, 2, verbose=0)
    (image,), (scores,) = pipeline.interface.inputs, pipeline.interface.outputs
    assert (image.mean, image.std) == ((1, 2, 3), (127.5,))
    assert scores.labels == ("ant", "bee", "größe", "dog", "elk")
    described_again = [bool(_entries(read_model(segment.content))) for segment in pipeline.segments]
    assert described_again == [True, True]


def test_damaged_metadata_is_left_out_with_a_warning(model, described, capfd):
    (whole,) = _cut(model, [0, 0, 0], described)
    damaged = whole.content.replace(b"labels_0.txt", b"labels_9.txt", 1)
    pipeline = respect_tf.convert(damaged, 2)
    assert pipeline.interface.inputs == ()
    assert "labels_9.txt" in capfd.readouterr().err


def _with_labels(content, write):
    """The model with other files behind it, which `write` adds to the archive."""
    end = content.index(b"PK\x03\x04")
    stream = io.BytesIO(content[:end])
    with zipfile.ZipFile(stream, "a") as archive:
        write(archive)
    return stream.getvalue()


@pytest.mark.parametrize("told", [2**25, 10])
def test_labels_unpack_to_a_limit_that_the_error_states(model, described, told):
    (whole,) = _cut(model, [0, 0, 0], described)

    def write(archive):
        archive.writestr("labels_0.txt", b"a\n" * 2**24, zipfile.ZIP_DEFLATED)
        archive.getinfo("labels_0.txt").file_size = told  # the directory may say what is not so

    hostile = _with_labels(whole.content, write)
    assert len(hostile) < len(whole.content) + 2**16
    with pytest.raises(InvalidModelError, match="4194304 bytes"):
        read_metadata(hostile, ["image"], ["scores"])


def test_outputs_that_share_a_file_of_labels_read_it_once(model, segments):
    spec = segments[0].inputs[0]
    names = [f"{index}" for index in range(200)]
    writer = MetadataWriter()
    tensors = [writer.tensor(name, spec, labels_file="long.txt") for name in names]
    packed = writer.model("zoo", [], tensors)
    unpacked = read_model(model)
    unpacked.buffers[0].data = np.frombuffer(packed, np.uint8)
    unpacked.metadata[0].name, unpacked.metadata[0].buffer = "TFLITE_METADATA", 0
    stream = io.BytesIO(write_model(unpacked))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("long.txt", b"a\n" * 2**16)  # 200 times as much would be refused
    found = read_metadata(stream.getvalue(), [], names)
    assert {len(labels) for labels in found.labels.values()} == {2**16}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_packing_are_refused(model, described, method):
    (whole,) = _cut(model, [0, 0, 0], described)
    hostile = _with_labels(
        whole.content, lambda archive: archive.writestr("labels_0.txt", b"a\n" * 99, method)
    )
    with pytest.raises(InvalidModelError, match=r"stored.*deflated"):
        read_metadata(hostile, ["image"], ["scores"])


@pytest.mark.parametrize("position", range(0, 60))
@pytest.mark.parametrize("header", [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"])
def test_damaged_archives_are_clear_errors_or_harmless(model, described, header, position):
    (whole,) = _cut(model, [0, 0, 0], described)
    damaged = bytearray(whole.content)
    place = damaged.index(header) + position
    for value in (0, 1, 0x63, 0xFF):
        damaged[place % len(damaged)] = value
        with contextlib.suppress(InvalidModelError):
            read_metadata(bytes(damaged), ["image"], ["scores"])


def test_metadata_in_no_buffer_of_the_model_is_refused(model, described):
    (whole,) = _cut(model, [0, 0, 0], described)
    unpacked = read_model(whole.content)
    (entry,) = _entries(unpacked)
    entry.buffer = 10**6
    damaged = write_model(unpacked)
    for read in (respect_tf.inspect, lambda m: read_metadata(m, ["image"], ["scores"])):
        with pytest.raises(InvalidModelError, match="'TFLITE_METADATA' has the index 1000000"):
            read(damaged)


@given(data=st.data())
@settings(max_examples=60)
def test_damaged_metadata_is_a_clear_error_or_harmless(model, described, data):
    (whole,) = _cut(model, [0, 0, 0], described)
    unpacked = read_model(whole.content)
    (entry,) = _entries(unpacked)
    packed = bytearray(unpacked.buffers[entry.buffer].data)
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(8, len(packed) - 1))] = data.draw(st.integers(0, 255))
    damaged = whole.content.replace(bytes(unpacked.buffers[entry.buffer].data), bytes(packed))
    with contextlib.suppress(InvalidModelError):
        read_metadata(damaged, ["image"], ["scores"])


def test_dicts_name_inputs_and_outputs():
    metadata = Metadata(mean={"right": 1}, std={"right": [1, 2, 3]}, labels={"b": ["x", "y", "z"]})
    found = metadata.describe({"left": _SHAPE, "right": _SHAPE}, {"a": _SHAPE, "b": _SHAPE})
    assert [one.mean for one in found.inputs] == [(), (1.0,)]
    assert [one.std for one in found.inputs] == [(), (1.0, 2.0, 3.0)]
    assert [one.labels for one in found.outputs] == [(), ("x", "y", "z")]
    nothing = Metadata().describe({"left": _SHAPE}, {"a": _SHAPE})
    assert all(one.to_dict() == {} for one in (*nothing.inputs, *nothing.outputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [1, 2], "std": 1}, "one per channel, 3"),
        ({"mean": {"other": 1}, "std": {"other": 1}}, "names \\['other'\\]"),
        ({"mean": {"in": 1}, "std": {}}, "Expected the same"),
        ({"labels": ["a"]}, "3 strings"),
        ({"labels": ["a"] * 4}, "3 strings.*Received: 4"),
        ({"labels": {"other": []}}, "names"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(arguments, message):
    metadata = Metadata(**arguments)
    with pytest.raises(ArgumentError, match=message):
        metadata.describe({"in": _SHAPE}, {"out": _SHAPE})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": 1}, "both mean and std"),
        ({"mean": "1", "std": 1}, "mean must be a number or one per channel"),
        ({"mean": [[1], [1, 2]], "std": 1}, "mean must be a number or one per channel"),
        ({"mean": float("nan"), "std": 1}, "finite"),
        ({"mean": 0, "std": 0}, "std must be finite above 0"),
        ({"mean": {"in": 0}, "std": {"in": -1}}, "std of input 'in' must be finite above 0"),
        ({"labels": "abc"}, "list of strings"),
        ({"labels": 3}, "list of strings"),
        ({"labels": ["a", "b", "c\nd"]}, "of one line"),
        ({"labels": {"out": ["a", 3]}}, "labels of output 'out' must be strings of one line"),
    ],
)
def test_what_fits_no_model_is_refused_before_there_is_one(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Metadata(**arguments)


def test_labels_of_several_outputs_need_their_names():
    metadata = Metadata(labels=["x", "y", "z"])
    with pytest.raises(ArgumentError, match="dict by output name"):
        metadata.describe({"in": _SHAPE}, {"a": _SHAPE, "b": _SHAPE})
