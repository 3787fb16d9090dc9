"""Archives and sample files: bounded, plain, and read in one way; anything else is our error."""

import io
import itertools
import random
import struct
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from model_builder import ModelBuilder

from respect_tf._archive import FREE_BYTES, Archive, ArchiveError
from respect_tf._errors import ArgumentError, RespectError
from respect_tf._sample_files import read_samples
from respect_tf.cli import main


def _archive(*members, compression=zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def _opened(content: bytes) -> Archive:
    return Archive(io.BytesIO(content))


def _patched(content: bytes, offset: int, value: bytes) -> bytes:
    """Change a field of the first member in the list at the archive's end."""
    start = content.index(b"PK\x01\x02") + offset
    return content[:start] + value + content[start + len(value) :]


def _special(mode: int) -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = mode << 16
    return _archive((info, b"/etc/passwd"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_archive(("../up", b"x")), "no plain relative name"),
        (_archive(("/etc/up", b"x")), "no plain relative name"),
        (_archive(("a/../../up", b"x")), "no plain relative name"),
        (_archive(("a//b", b"x")), "no plain relative name"),
        (_archive(("C:up", b"x")), "no plain relative name"),
        (_archive(("a\\b", b"x")), "no plain relative name"),
        (_archive(("aXb", b"x")).replace(b"aXb", b"a\0b"), "no plain relative name"),
        (_archive(("a", b"x"), ("b", b"y")).replace(b"b", b"a"), "'a' twice"),
        (_patched(_archive(("a", b"x")), 8, b"\1\0"), "encrypted"),
        (_patched(_archive(("a", b"x")), 10, struct.pack("<H", 99)), "method 99"),
        (_archive(("a", b"x" * 99), compression=zipfile.ZIP_BZIP2), "method 12"),
        (_archive(("a", b"x" * 99), compression=zipfile.ZIP_LZMA), "method 14"),
        (_special(0o120777), "link or a device"),
        (_special(0o010644), "link or a device"),
        (_patched(_archive(("a", b"x")), 24, b"\xff\xff\xff\x7f"), "unpacks to 2,147,483,647"),
        (_archive(*((f"{n}", b"") for n in range(10_001))), "10,001 members"),
        (b"PK\x03\x04", "no ZIP archive"),
        (b"", "no ZIP archive"),
        (_archive(("a", b"x"))[:-5], "no ZIP archive"),
    ],
    ids=itertools.count(),  # archives hold the time at which they were made
)
def test_archives_that_break_a_rule_are_refused(content, said):
    with pytest.raises(ArchiveError, match=said):
        _opened(content)


def test_members_that_lie_over_each_other_are_refused():
    """The way to pack one gigabyte a thousand times."""
    content = _archive(("a", b"x" * 50), ("b", b"y" * 50))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content = content[: second + 42] + b"\0\0\0\0" + content[second + 46 :]
    with pytest.raises(ArchiveError, match="overlaps"):
        _opened(content)


def test_what_it_unpacks_to_is_bounded():
    bomb = _archive(("a", b"\0" * (FREE_BYTES + 1)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 300_000
    with pytest.raises(ArchiveError, match=rf"unpacks to {FREE_BYTES + 1:,}"):
        _opened(bomb)
    # A list that claims less than there is.
    small = _archive(("a", b"\0" * 9000), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ArchiveError, match="'a'"):
        _opened(_patched(small, 24, struct.pack("<I", 10))).read("a")
    with pytest.raises(ArchiveError, match="has 9,000 bytes, expected 5 at most"):
        _opened(small).read("a", limit=5)
    with pytest.raises(ArchiveError, match="no member 'b'"):
        _opened(small).read("b")


def test_a_good_archive_is_read():
    archive = _opened(_archive(("folder/", b""), ("folder/a", b"abc"), ("b", b"")))
    assert [(member.name, member.num_bytes) for member in archive.members()] == [
        ("folder/a", 3),
        ("b", 0),
    ]
    assert archive.read("folder/a") == b"abc"
    target = io.BytesIO()
    archive.copy("folder/a", target)
    assert target.getvalue() == b"abc"


def _npz(save=np.savez, **arrays) -> bytes:
    content = io.BytesIO()
    save(content, **arrays)
    return content.getvalue()


def _npy(array) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_samples_are_read(save, tmp_path):
    arrays = {
        "image": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "flags": np.array([True, False]),
        "big endian": np.arange(3, dtype=">f4"),
        "none": np.zeros((0, 3), np.int16),
    }
    path = tmp_path / "samples"
    path.write_bytes(_npz(save, **arrays))
    found = read_samples(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    path.write_bytes(_npy(arrays["columns"]))
    np.testing.assert_array_equal(read_samples(path), arrays["columns"])


class _Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_objects_are_not_unpickled(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "samples"
    objects = np.array([_Payload(marker)], dtype=object)
    for content in (_npy(objects), _npz(a=objects), _npy(np.zeros(1, [("a", object)]))):
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match="Expected numbers"):
            read_samples(path)
    assert not marker.exists()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        _npy(np.arange(9))[:-1],
        _npy(np.arange(9)) + b"x",
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}"),
        _header("(" * 5000),
        _header("{'descr': " + "[" * 900),
        _header("__import__('os').system('true')"),
        _npy(np.array(["text"])),
        _npz(a=np.arange(9.0))[:-30],
        _archive(("a.npy", b"no array")),
        _archive(("../a.npy", _npy(np.arange(3)))),
        _patched(_npz(a=np.arange(3)), 8, b"\1\0"),
    ],
)
def test_damaged_samples_are_our_errors(content, tmp_path):
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"samples\.npz"):
        read_samples(path)


def test_a_damaged_entry_is_named(tmp_path):
    content = bytearray(_npz(np.savez_compressed, good=np.arange(9), bad=np.arange(999)))
    content[content.index(b"bad.npy") + 60] ^= 0xFF
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"'bad\.npy' is damaged"):
        read_samples(path)


def test_mutants_of_samples_are_read_or_refused(tmp_path):
    originals = [
        _npz(a=np.arange(24.0).reshape(2, 3, 4), b=np.ones((2, 5), np.uint8)),
        _npz(np.savez_compressed, a=np.arange(24.0), b=np.ones((2, 5), np.uint8)),
        _npy(np.asfortranarray(np.arange(12.0).reshape(3, 4))),
    ]
    path = tmp_path / "samples"
    generator = random.Random(0)
    refused = 0
    for _ in range(500):
        content = bytearray(generator.choice(originals))
        for _ in range(generator.choice((1, 1, 3))):
            place = generator.randrange(len(content))
            kind = generator.randrange(3)
            if kind == 0:
                content[place] ^= 1 << generator.randrange(8)
            elif kind == 1:
                del content[place : place + generator.choice((1, 4, 50))]
            else:
                content[place:place] = generator.choice((b"\xff" * 4, b"((((", b"\0", b"'"))
            content = content or bytearray(b"\0")
        path.write_bytes(content)
        try:
            read_samples(path)
        except RespectError:
            refused += 1
    assert 250 < refused < 500


def test_a_bomb_of_samples_is_refused_on_the_command_line(tmp_path):
    builder = ModelBuilder()
    (tmp_path / "net.tflite").write_bytes(builder.build([builder.conv(builder.input("image"))]))
    path = tmp_path / "samples.npz"
    content = _npz(np.savez_compressed, image=np.zeros((8, 8, 8), np.int8))
    path.write_bytes(_patched(content, 24, struct.pack("<I", 2**31 - 1)))
    arguments = ["convert", str(tmp_path / "net.tflite"), "-r", str(path)]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "unpacks to 2,147,483,647" in result.output.replace("\n", " ")


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("endless", "missing", "."):
        with pytest.raises(ArgumentError, match="no regular file"):
            read_samples(tmp_path / name)
