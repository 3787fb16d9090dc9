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
from respect_tf.run import CpuRunner, describe_interface, read_metadata, write_metadata
from respect_tf.run._metadata_writer import MetadataWriter
from respect_tf.segmentation import check_runner_rules, verify
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
    return describe_interface(
        {"image": segments[0].inputs[0]},
        {"scores": segments[-1].outputs[0]},
        mean=[1, 2, 3],
        std=127.5,
        labels=["ant", "bee", "größe", "dog", "elk"],
    )


def test_the_first_segment_describes_the_inputs(segments, described):
    written = write_metadata(segments, *described, name="zoo")
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


def test_the_last_segment_carries_the_labels(segments, described):
    content = write_metadata(segments, *described, name="zoo")[-1].content
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
    written = write_metadata(segments, *described, name="zoo")
    assert written[1] == segments[1]
    check_runner_rules(written)
    verify(model, written)
    with CpuRunner(written) as runner:
        runner.push({"input_0": np.zeros((1, 4, 4, 3), np.int8)})
        assert runner.pop() is not None
    assert write_metadata(segments, *described, name="zoo") == written  # the same bytes
    # Written again, it replaces what was there.
    again = write_metadata(written, *described, name="other")
    assert [_metadata(again[place].content)[1] for place in (0, -1)] == ["other", "other"]


def test_a_single_segment_describes_both(model, described):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    subgraph, _ = _metadata(whole.content)
    assert subgraph.tables(2)[0].string(0) == "image"
    assert subgraph.tables(3)[0].string(0) == "scores"
    assert "kept" in {text(entry.name) for entry in read_model(whole.content).metadata}


def test_the_manifest_gets_what_is_known(described):
    (image,), (scores,) = described
    normalization = {"mean": [1.0, 2.0, 3.0], "std": [127.5]}
    assert image.to_dict() == {"normalization": normalization}
    assert scores.to_dict() == {"labels": ["ant", "bee", "größe", "dog", "elk"]}


def test_metadata_can_be_read_back(model, described):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    found = read_metadata(whole.content, ["image"], ["scores"])
    assert found.mean == {"image": (1, 2, 3)}
    assert found.std == {"image": (127.5,)}
    assert found.labels == {"scores": ["ant", "bee", "größe", "dog", "elk"]}
    assert read_metadata(model, ["image"], ["scores"]) is None


def test_a_given_model_keeps_its_metadata(model, described):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    pipeline = respect_tf.convert(whole.content, 2, verbose=0)
    (image,), (scores,) = pipeline.interface.inputs, pipeline.interface.outputs
    assert (image.mean, image.std) == ((1, 2, 3), (127.5,))
    assert scores.labels == ("ant", "bee", "größe", "dog", "elk")
    described_again = [bool(_entries(read_model(segment.content))) for segment in pipeline.segments]
    assert described_again == [True, True]


def test_damaged_metadata_is_left_out_with_a_warning(model, described, capfd):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
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
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")

    def write(archive):
        archive.writestr("labels_0.txt", b"a\n" * 2**24, zipfile.ZIP_DEFLATED)
        archive.getinfo("labels_0.txt").file_size = told  # the directory may say what is not so

    hostile = _with_labels(whole.content, write)
    assert len(hostile) < len(whole.content) + 2**16
    with pytest.raises(InvalidModelError, match="more than 4194304 bytes" if told > 10 else "read"):
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
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    hostile = _with_labels(
        whole.content, lambda archive: archive.writestr("labels_0.txt", b"a\n" * 99, method)
    )
    with pytest.raises(InvalidModelError, match="stored or deflated"):
        read_metadata(hostile, ["image"], ["scores"])


@pytest.mark.parametrize("position", range(0, 60))
@pytest.mark.parametrize("header", [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"])
def test_damaged_archives_are_clear_errors_or_harmless(model, described, header, position):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    damaged = bytearray(whole.content)
    place = damaged.index(header) + position
    for value in (0, 1, 0x63, 0xFF):
        damaged[place % len(damaged)] = value
        with contextlib.suppress(InvalidModelError):
            read_metadata(bytes(damaged), ["image"], ["scores"])


def test_metadata_in_no_buffer_of_the_model_is_refused(model, described):
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
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
    (whole,) = write_metadata(segment(model, [0, 0, 0]), *described, name="zoo")
    unpacked = read_model(whole.content)
    (entry,) = _entries(unpacked)
    packed = bytearray(unpacked.buffers[entry.buffer].data)
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(8, len(packed) - 1))] = data.draw(st.integers(0, 255))
    damaged = whole.content.replace(bytes(unpacked.buffers[entry.buffer].data), bytes(packed))
    with contextlib.suppress(InvalidModelError):
        read_metadata(damaged, ["image"], ["scores"])


def test_dicts_name_inputs_and_outputs(segments):
    spec = segments[0].inputs[0]
    inputs, outputs = describe_interface(
        {"left": spec, "right": spec},
        {"a": spec, "b": spec},
        mean={"right": 1},
        std={"right": [1, 2, 3]},
        labels={"b": ["x", "y", "z"]},
    )
    assert [one.mean for one in inputs] == [(), (1.0,)]
    assert [one.std for one in inputs] == [(), (1.0, 2.0, 3.0)]
    assert [one.labels for one in outputs] == [(), ("x", "y", "z")]
    nothing = describe_interface({"left": spec}, {"a": spec})
    assert all(one.to_dict() == {} for side in nothing for one in side)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": 1}, "both mean and std"),
        ({"mean": [1, 2], "std": 1}, "one per channel, 3"),
        ({"mean": "1", "std": 1}, "one per channel"),
        ({"mean": float("nan"), "std": 1}, "finite"),
        ({"mean": 0, "std": 0}, "finite above 0"),
        ({"mean": {"other": 1}, "std": {"other": 1}}, "names \\['other'\\]"),
        ({"mean": {"in": 1}, "std": {}}, "Expected the same"),
        ({"labels": ["a"]}, "3 strings"),
        ({"labels": "abc"}, "3 strings"),
        ({"labels": ["a", "b", "c\nd"]}, "of one line"),
        ({"labels": ["a", "b", 3]}, "3 strings"),
        ({"labels": {"other": []}}, "names"),
    ],
)
def test_what_does_not_fit_is_refused(segments, arguments, message):
    spec = segments[0].inputs[0]
    with pytest.raises(ArgumentError, match=message):
        describe_interface({"in": spec}, {"out": spec}, **arguments)


def test_labels_of_several_outputs_need_their_names(segments):
    spec = segments[0].inputs[0]
    with pytest.raises(ArgumentError, match="dict by output name"):
        describe_interface({"in": spec}, {"a": spec, "b": spec}, labels=["x", "y", "z"])
