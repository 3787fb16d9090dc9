"""Saved folders on disk: replaced in one step, nothing lost, nothing left, whoever is killed."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import SavedPipelineError, _exchange, _folder
from respect_tf._files import locked, strays_of
from respect_tf._folder import update_folder, write_folder
from respect_tf._folder_reading import read_manifest
from respect_tf._folder_repair import repair_folder
from respect_tf._folder_target import check_writable_target
from respect_tf._manifest import pipeline_files


def _files(num_convs: int) -> dict[str, bytes]:
    builder = ModelBuilder()
    tensor = builder.input("image")
    for _ in range(num_convs):
        tensor = builder.conv(tensor)
    made = respect_tf.convert(builder.build([tensor]), 2, objective="memory", verbose=0)
    return pipeline_files(made)


@pytest.fixture(scope="module")
def old() -> dict[str, bytes]:
    return _files(2)


@pytest.fixture(scope="module")
def new() -> dict[str, bytes]:
    return _files(3)


def _held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "renames"])
def system(request, monkeypatch):
    """Systems that can exchange two folders, and others."""
    if request.param == "renames":
        monkeypatch.setattr(_folder, "exchange", lambda *_: False)
    return request.param


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not _exchange.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot")
    assert (_names(tmp_path / "a"), _names(tmp_path / "b")) == (["b"], ["a"])
    with pytest.raises(OSError, match="No such file"):
        _exchange.exchange(tmp_path / "a", tmp_path / "c")


def test_a_folder_is_replaced(system, old, new, tmp_path):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    target.chmod(0o750)
    write_folder(target, new, overwrite=True)
    assert _held(target) == new
    assert target.stat().st_mode & 0o777 == 0o750
    assert _names(tmp_path) == ["out"]


def test_an_empty_folder_is_filled(old, tmp_path):
    write_folder(tmp_path, old, overwrite=False)
    assert _held(tmp_path) == old


def test_files_of_the_user_are_named_and_stay(system, old, new, tmp_path, capsys):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    (target / "notes.txt").write_text("mine")
    number = (target / "notes.txt").stat().st_ino
    write_folder(target, new, overwrite=True, verbose=1)
    assert _held(target) == {**new, "notes.txt": b"mine"}
    assert (target / "notes.txt").stat().st_ino == number
    assert "notes.txt" in capsys.readouterr().err
    assert _names(tmp_path) == ["out"]


def _project(folder: Path) -> None:
    for name in (".git", "src"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("work of years")


def _refused(files, target: Path, match: str) -> None:
    before = {path: path.lstat().st_ino for path in target.rglob("*")}
    with pytest.raises(SavedPipelineError, match=match):
        write_folder(target, files, overwrite=True)
    assert {path: path.lstat().st_ino for path in target.rglob("*")} == before
    assert strays_of(target) == []


@pytest.mark.parametrize("manifest", ["ours", "", "{}", "[]", '{"schema_version": 1}', "\xff"])
def test_a_project_beside_a_stray_manifest_survives(old, new, tmp_path, manifest):
    content = old["pipeline.json"] if manifest == "ours" else manifest.encode("latin-1")
    (tmp_path / "pipeline.json").write_bytes(content)
    _project(tmp_path)
    _refused(new, tmp_path, "not replaced, not even with overwrite")


def test_what_was_changed_or_is_no_file_of_ours_is_a_reason_to_refuse(old, new, tmp_path):
    target = tmp_path / "out"
    for lay, match in (
        (lambda: (target / "report.html").write_text("my own report"), "report.html.*changed"),
        ((target / "extra").mkdir, "'extra' in it is no file"),
        (lambda: (target / "link").symlink_to("/etc/passwd"), "'link' in it is no file"),
        (lambda: os.mkfifo(target / "pipe"), "'pipe' in it is no file"),
        (
            (target / "model_segment_0_of_2_edgetpu.tflite").touch,
            "edgetpu.tflite' in it is not listed",
        ),
    ):
        write_folder(target, old, overwrite=False)
        lay()
        _refused(new, target, match)
        target.rename(tmp_path / f"was_{match[:4]}")


def test_a_folder_of_ours_that_lacks_files_is_replaced(old, new, tmp_path):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    (target / "model.tflite").unlink()
    write_folder(target, new, overwrite=True)
    assert _held(target) == new


def test_a_link_to_a_folder_stays_a_link(old, new, tmp_path):
    write_folder(tmp_path / "real", old, overwrite=False)
    (tmp_path / "link").symlink_to("real")
    assert write_folder(tmp_path / "link", new, overwrite=True) == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()
    assert _held(tmp_path / "real") == new


@pytest.mark.parametrize("path", ["a\0b", "loop", "x" * 300])
def test_paths_that_cannot_be_are_clear_errors(old, tmp_path, path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SavedPipelineError, match="cannot be written"):
        write_folder(tmp_path / path, old, overwrite=True)
    assert _names(tmp_path) == ["loop"]


def test_a_full_disk_leaves_no_parents(old, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_folder, "write_new", full)
    with pytest.raises(SavedPipelineError, match="No space left"):
        write_folder(tmp_path / "a" / "b" / "c", old, overwrite=False)
    assert _names(tmp_path) == []


# Two savers


def test_a_folder_that_is_being_written_is_left_alone(old, new, tmp_path):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    with locked(target), pytest.raises(SavedPipelineError, match="written by another process"):
        write_folder(target, new, overwrite=True)
    with locked(target), pytest.raises(SavedPipelineError, match="written by another process"):
        update_folder(target, new)
    assert _held(target) == old
    write_folder(target, new, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_savers_one_wins_and_the_other_is_told(old, new, tmp_path, monkeypatch, overwrite):
    target = tmp_path / "out"
    swap = _folder._swap

    def late(*arguments, **options):
        monkeypatch.setattr(_folder, "_swap", swap)
        write_folder(target, new, overwrite=False)  # the other one is faster
        swap(*arguments, **options)

    monkeypatch.setattr(_folder, "_swap", late)
    with pytest.raises(SavedPipelineError, match="Another process has just written"):
        write_folder(target, old, overwrite=overwrite)
    assert _held(target) == new
    assert _names(tmp_path) == ["out"]


# Savers that are killed


_KILLED = """
import json, os, signal, sys
from respect_tf import _folder
job = json.loads(sys.argv[1])
if not job["exchange"]:
    _folder.exchange = lambda *_: False
files = {name: open(os.path.join(job["new"], name), "rb").read() for name in job["names"]}
steps = 0
def count(event, arguments):
    # All that changes files: opening for writing, making, linking, renaming, removing.
    global steps
    if event not in ("open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir"):
        return
    if str(arguments[0]).startswith(job["parent"]):
        steps += 1
        if steps == job["step"]:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
if job["updates"]:
    _folder.update_folder(job["target"], files)
else:
    _folder.write_folder(job["target"], files, overwrite=True)
print(steps)
"""


def _kill(
    tmp_path: Path, step: int, names: list[str], *, exchange: bool = True, updates: bool = False
) -> str:
    """Run a saver that is killed before its `step`-th change; what it prints if it was not."""
    job = {
        "exchange": exchange,
        "updates": updates,
        "names": names,
        "new": str(tmp_path / "new"),
        "parent": str(tmp_path / "place"),
        "target": str(tmp_path / "place" / "out"),
        "step": step,
    }
    return subprocess.run(
        [sys.executable, "-c", _KILLED, json.dumps(job)],
        capture_output=True, text=True, timeout=120, check=False,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("there", ["nothing", "a folder"])
@pytest.mark.parametrize("exchange", [True, False])
def test_a_saver_that_is_killed_leaves_the_old_or_the_new_folder_whole(
    old, new, tmp_path, exchange, there
):
    """Killed before each step that changes a file; then the next save repairs and cleans."""
    write_folder(tmp_path / "new", new, overwrite=False)
    target = tmp_path / "place" / "out"
    target.parent.mkdir()
    names = list(new)
    seen, step = set(), 1
    while True:
        if there != "nothing":
            write_folder(target, old, overwrite=True)
            (target / "notes.txt").write_text("mine")
        ended = _kill(tmp_path, step, names, exchange=exchange)
        found = _held(target) if target.exists() else {}
        mine = {} if there == "nothing" else {"notes.txt": b"mine"}
        states = {"old": {**old, **mine} if mine else {}, "new": {**new, **mine}}
        if not exchange and mine and not found:
            repair_folder(target)  # what the next save does first
            found = _held(target)
        state = next(name for name, files in states.items() if files == found)
        seen.add(state)
        write_folder(target, new, overwrite=True)
        assert _held(target) == {**new, **mine}
        assert _names(target.parent) == ["out"]
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
        if ended:
            break
        step += 3  # every third of them keeps the test short; the benchmark takes all
    assert seen == {"old", "new"}


def test_loading_says_that_a_save_was_interrupted(old, tmp_path):
    write_folder(tmp_path / "out", old, overwrite=False)
    stray = tmp_path / ".out.0123456789abcdef.old"
    (tmp_path / "out").rename(stray)
    with pytest.raises(SavedPipelineError, match=r"interrupted.*next one will repair.*\.old"):
        respect_tf.load(tmp_path / "out")
    check_writable_target(tmp_path / "out", overwrite=True)
    assert _held(tmp_path / "out") == old


def test_only_what_a_dead_saver_left_is_cleaned(old, new, tmp_path):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    (tmp_path / ".out.0123456789abcdef.partial").mkdir()  # of a dead one
    (tmp_path / ".out.0123456789abcde0.partial").mkdir()  # of a living one
    others = [
        ".out.partial",
        ".out.0123456789abcdef.partial.txt",
        ".other.0123456789abcdef.partial",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    with locked(tmp_path / ".out.0123456789abcde0.partial"):
        write_folder(target, new, overwrite=True)
    assert _names(tmp_path) == sorted([*others, ".out.0123456789abcde0.partial", "out"])


def test_what_the_user_laid_into_a_folder_meanwhile_is_found_again(old, new, tmp_path, monkeypatch):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    swap = _folder._swap

    def late(*arguments, **options):
        (target / "notes.txt").write_text("mine")
        swap(*arguments, **options)

    monkeypatch.setattr(_folder, "_swap", late)
    write_folder(target, new, overwrite=True)
    assert _held(target) == {**new, "notes.txt": b"mine"}


# Updating


@pytest.mark.parametrize("in_place", [False, True])
def test_an_update_keeps_everything_else(old, tmp_path, in_place):
    target = tmp_path / "out"
    write_folder(target, old, overwrite=False)
    (target / "notes.txt").write_text("mine")
    if in_place:
        _project(target)
    files = _without_report(old)
    update_folder(target, files)
    kept = {".git", "src"} if in_place else set()
    assert set(_names(target)) == {*files, "notes.txt", *kept}
    assert read_manifest(target)["files"].keys() == files.keys() - {"pipeline.json"}
    assert _names(tmp_path) == ["out"]


def _without_report(files):
    manifest = json.loads(files["pipeline.json"])
    del manifest["files"]["report.html"]
    changed = files["run_pipeline.py"] + b"\n"
    manifest["files"]["run_pipeline.py"] = hashlib.sha256(changed).hexdigest()
    made = {name: content for name, content in files.items() if name != "report.html"}
    return {**made, "run_pipeline.py": changed, "pipeline.json": json.dumps(manifest).encode()}


def test_an_update_that_is_killed_is_undone_or_completed_by_the_next(old, tmp_path):
    new, target = _without_report(old), tmp_path / "place" / "out"
    (tmp_path / "new").mkdir()
    for name, content in new.items():
        (tmp_path / "new" / name).write_bytes(content)
    seen, step = set(), 2
    while True:
        write_folder(target, old, overwrite=True)
        if not (target / ".git").exists():
            _project(target)
        ended = _kill(tmp_path, step, list(new), updates=True)
        repair_folder(target)
        names = set(_names(target)) - {".git", "src"}
        found = {name: (target / name).read_bytes() for name in names}
        # What the new manifest does not list any more may stay.
        whole = {**old, **new} if found["pipeline.json"] == new["pipeline.json"] else old
        assert {**whole, **found} == whole
        assert names - {"report.html"} == whole.keys() - {"report.html"}
        seen.add(found["pipeline.json"] == old["pipeline.json"])
        for name in names:
            (target / name).unlink()
        for path in target.iterdir():
            (path / "file").unlink()
            path.rmdir()
        if ended:
            break
        step += 2
    assert seen == {True, False}


@pytest.mark.parametrize("after", [(Path, "mkdir"), (os, "open")])
def test_ctrl_c_as_soon_as_something_is_there_leaves_nothing(tmp_path, monkeypatch, new, after):
    where, name = after
    real = getattr(where, name)

    def interrupted(path, *arguments, **options):
        made = real(path, *arguments, **options)
        if str(path).endswith(".partial"):
            if made is not None:
                os.close(made)
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patched:
        patched.setattr(where, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_folder(tmp_path / "out", new, overwrite=False)
    assert _names(tmp_path) == []
