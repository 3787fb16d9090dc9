"""Single files: regular ones are read, and written whole or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from respect_tf import SavedPipelineError
from respect_tf._files import locked, read_regular, replacing, write_file


def test_regular_files_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, most=5) == b"12345"
    with pytest.raises(OSError, match="has 5 bytes, expected at most 4"):
        read_regular(path, most=4)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device", "socket"])
def test_nothing_else_is_read(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "b").write_bytes(b"x")
        path.symlink_to("b")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        if os.geteuid() != 0:
            pytest.skip("making such a node takes root")
        os.mknod(path, 0o600 | stat.S_IFSOCK)
    else:
        path = type(path)("/dev/zero")
    with pytest.raises(OSError, match=r"regular file|No such device or address"):
        read_regular(path, most=100)


def test_a_file_is_written_with_its_parents(tmp_path):
    target = tmp_path / "a" / "b" / "c.txt"
    assert write_file(target, b"new") == target
    assert target.read_bytes() == b"new"
    target.chmod(0o640)
    write_file(target, b"newer")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"newer", 0o640)
    assert [path.name for path in target.parent.iterdir()] == ["c.txt"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to("a")
    write_file(tmp_path / "b", b"new")
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


def test_what_is_no_regular_file_is_written_to():
    write_file("/dev/null", b"x")
    with pytest.raises(SavedPipelineError, match="No space left"):
        write_file("/dev/full", b"x")


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def fail():
        with replacing(target) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "missing/../../\udc80\0"])
def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path, name):
    with pytest.raises(SavedPipelineError, match="cannot be written"):
        write_file(f"{tmp_path}/{name}", b"x")
    assert list(tmp_path.iterdir()) == []


_WRITE = """
import os, signal, sys
import respect_tf._files as files
def die(descriptor):
    os.kill(os.getpid(), signal.SIGKILL)
files._sync = die
files.write_file(sys.argv[1], b"x" * 1000)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    subprocess.run([sys.executable, "-c", _WRITE, str(target)], check=False, timeout=60)
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    write_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_writer_is_writing_stays(tmp_path):
    target = tmp_path / "a"
    with replacing(target) as partial:
        write_file(target, b"first")
        assert partial.exists()
        partial.write_bytes(b"second")
    assert target.read_bytes() == b"second"


def test_a_lock_is_had_once(tmp_path):
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert first is not None
        assert second is None
    with locked(tmp_path) as again:
        assert again is not None


def test_ctrl_c_as_soon_as_the_file_is_there_leaves_nothing(tmp_path, monkeypatch):
    real = os.open

    def interrupted(path, *arguments):
        os.close(real(path, *arguments))
        raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
