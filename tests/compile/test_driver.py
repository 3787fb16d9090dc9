from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from compiled_models import compiled_like
from model_builder import ModelBuilder

from respect_tf._errors import ArgumentError, CompilerError
from respect_tf.compile import (
    Compiler,
    OpStatus,
    check_same_interface,
    compile_model,
    compile_segments,
    find_compiler,
    parse_log,
    read_compiled,
    require_compiler,
)
from respect_tf.segmentation import Segment, segment

V15 = "15.0.340273435"
Plan = Callable[..., Path]


def chain_model(kinds: str = "ccccrccc") -> bytes:
    """One op after another: "c" a convolution, "r" a RELU, "a" an ADD, "d" a DEQUANTIZE."""
    builder = ModelBuilder()
    made = builder.input()
    for kind in kinds:
        if kind == "c":
            made = builder.conv(made)
        elif kind == "a":
            made = builder.add(made, made)
        else:
            made = builder.relu(made)
    return builder.build([made])


def segments_of(kinds: str = "ccccrccc", num_segments: int = 2) -> tuple[Segment, ...]:
    stages = np.arange(len(kinds)) * num_segments // len(kinds)
    return segment(chain_model(kinds), stages, name="net")


@pytest.fixture
def compiler(stand_in_program: Path, plan: Plan) -> Compiler:
    return Compiler(stand_in_program, "16.0.384591198")


@pytest.fixture
def old_compiler(stand_in_program: Path, plan: Plan) -> Compiler:
    plan(version=V15)
    return Compiler(stand_in_program, V15)


# Finding it


def test_it_is_found_by_argument_environment_and_path(
    stand_in_program: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = Compiler(stand_in_program, "16.0.384591198")
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    assert find_compiler(stand_in_program) == expected
    monkeypatch.setenv("EDGETPU_COMPILER", str(stand_in_program))
    assert find_compiler() == expected
    monkeypatch.delenv("EDGETPU_COMPILER")
    monkeypatch.setenv("PATH", f"{stand_in_program.parent}:{os.environ['PATH']}")
    assert find_compiler() == require_compiler() == expected
    monkeypatch.chdir(stand_in_program.parent)
    assert find_compiler("./edgetpu_compiler").path.samefile(stand_in_program)


def test_none_is_found_or_required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    with pytest.raises(CompilerError, match=r"not found.*EDGETPU_COMPILER.*x86-64 Linux"):
        require_compiler()


def test_a_compiler_that_is_named_must_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CompilerError, match=r"no program '.*gone', which compiler="):
        find_compiler(tmp_path / "gone")
    monkeypatch.setenv("EDGETPU_COMPILER", str(tmp_path))
    with pytest.raises(CompilerError, match="which EDGETPU_COMPILER names"):
        find_compiler()


@pytest.mark.parametrize("version", ["1.0.249710469", "2.1.302470888", "13.9"])
def test_old_releases_are_refused(stand_in_program: Path, plan: Plan, version: str) -> None:
    plan(version=version)
    with pytest.raises(CompilerError, match=f"is version {version}. Expected 14 or newer"):
        find_compiler(stand_in_program)


def test_release_15_is_good_enough(stand_in_program: Path, plan: Plan) -> None:
    plan(version=V15)
    assert find_compiler(stand_in_program).release == 15


def script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_another_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"does not answer as edgetpu_compiler.*'hello'"):
        find_compiler(script(tmp_path, "#!/bin/sh\necho hello\n"))
    with pytest.raises(CompilerError, match=r"exit code 3, which printed nothing"):
        find_compiler(script(tmp_path, "#!/bin/sh\nexit 3\n"))


def test_a_program_for_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"cannot be started: .*x86-64 Linux"):
        find_compiler(script(tmp_path, "\x7fELF nothing that runs"))


# Compiling


def test_segments_are_compiled_by_themselves(compiler: Compiler, plan: Plan) -> None:
    segments = segments_of()
    compilation = compile_segments(segments, compiler, verbose=0)
    compilation.check()
    assert compilation.failed == ()
    assert compilation.streamed_bytes == (0, 0)
    for before, result in zip(segments, compilation.results, strict=True):
        after = result.segment
        assert dataclasses.replace(after, compiled=None, compile_log=None) == before
        assert after.compile_log == result.result.printed
        check_same_interface(after.compiled, before.content)
        assert read_compiled(after.compiled).cached_bytes == result.log.on_chip_used_bytes
        assert result.log.input_file == f"{before.name}.tflite"
        assert sum(row.count for row in result.log.ops) == len(before.ops)
        assert parse_log(result.result.printed) == result.result.log
        assert (result.result.exit_code, result.result.attempts) == (0, 1)


def test_release_15_knows_no_time_limit(old_compiler: Compiler) -> None:
    result = compile_model(chain_model(), old_compiler)
    assert result.failure is None
    assert (result.log.version, result.log.timeout_seconds) == (V15, None)
    assert result.log.models[0].ops == (
        OpStatus("CONV_2D", 7, "Mapped to Edge TPU"),
        OpStatus("RELU", 1, "Mapped to Edge TPU"),
    )


def test_options_reach_the_compiler(compiler: Compiler) -> None:
    result = compile_model(chain_model("cc"), compiler, timeout=33.2, min_runtime_version=13)
    assert result.log.timeout_seconds == 34
    assert read_compiled(result.content).min_runtime_version == 13


@pytest.mark.parametrize("name", ["-o", "ö x", "../up", "a'b", ""])
def test_any_name_will_do(compiler: Compiler, name: str) -> None:
    result = compile_model(chain_model("c"), compiler, name=name)
    assert result.failure is None
    assert result.log.models[0].input_file == "model.tflite"


def test_ops_that_stay_on_the_cpu_are_no_failure(compiler: Compiler, plan: Plan) -> None:
    plan(cpu_ops=["RELU"])
    first, second = compile_segments(segments_of(), compiler, verbose=0).results
    assert first.log.num_cpu_ops is None
    assert (second.log.num_edge_tpu_ops, second.log.num_cpu_ops) == (0, 4)
    assert {(row.op_type, row.status) for row in second.log.ops} == {
        ("RELU", "Operation not supported"),
        ("CONV_2D", "More than one subgraph is not supported"),
    }
    assert read_compiled(second.segment.compiled) is None


def test_streamed_parameters_are_logged(compiler: Compiler, plan: Plan) -> None:
    plan(room_bytes=[2**20, 2000])
    compilation = compile_segments(segments_of(), compiler, verbose=0)
    assert compilation.streamed_bytes[0] == 0
    assert compilation.streamed_bytes[1] > 0
    assert compilation.results[1].log.room_bytes == pytest.approx(2000, abs=20)


def test_random_errors_pass(compiler: Compiler, plan: Plan) -> None:
    runs = plan(fail_first=2)
    result = compile_model(chain_model("c"), compiler)
    assert (result.failure, result.attempts) == (None, 3)
    assert len(list(runs.iterdir())) == 3


def test_retries_are_bounded(compiler: Compiler, plan: Plan) -> None:
    runs = plan(fail_first=100)
    result = compile_model(chain_model("c"), compiler, retries=1)
    assert (result.content, result.attempts, result.exit_code) == (None, 2, 1)
    assert result.failure.kind == "internal"
    assert len(list(runs.iterdir())) == 2


def test_other_errors_are_not_tried_again(compiler: Compiler, plan: Plan) -> None:
    plan(fail_on=["CONV_2D"])
    assert compile_model(chain_model("c"), compiler).attempts == 1


@pytest.mark.parametrize(
    ("keys", "kind", "words"),
    [
        ({"segfault": True}, "crash", "Segmentation fault"),
        ({"silent": True}, "silent", "neither a result nor a reason"),
        ({"no_output": True}, "silent", "No result"),
        ({"damaged": True}, "bad-result", "damaged"),
        ({"fail_on": ["CONV_2D"]}, "large-activations", "large activation tensors"),
        ({"fail_on": ["CONV_2D"], "version": V15}, "large-activations", "large activation"),
    ],
)
def test_failures(
    stand_in_program: Path, plan: Plan, keys: dict, kind: str, words: str
) -> None:  # fmt: skip
    plan(**keys)
    compiler = Compiler(stand_in_program, keys.get("version", "16.0.384591198"))
    result = compile_model(chain_model("c"), compiler, retries=0)
    assert (result.content, result.failure.kind) == (None, kind)
    assert words in result.failure.message


def test_a_compiler_that_is_killed_is_a_crash(tmp_path: Path) -> None:
    killed = Compiler(script(tmp_path, "#!/bin/sh\nkill -9 $$\n"), "16.0.1")
    result = compile_model(chain_model("c"), killed, retries=0)
    assert (result.failure.kind, result.exit_code) == ("crash", -9)
    assert "SIGKILL" in result.failure.message


def test_the_exit_code_counts_even_if_the_log_says_success(
    stand_in_program: Path, plan: Plan, tmp_path: Path
) -> None:
    failing = script(tmp_path, f'#!/bin/sh\n"{stand_in_program}" "$@"\nexit 1\n')
    result = compile_model(chain_model("c"), Compiler(failing, "16.0.1"))
    assert (result.content, result.exit_code) == (None, 1)
    assert "exit code 1" in result.failure.message


def test_a_result_with_other_inputs_is_refused(
    compiler: Compiler, plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "other.tflite").write_bytes(segments_of("cc")[1].content)
    plan(other_interface=str(tmp_path / "other.tflite"))
    result = compile_model(chain_model("c"), compiler, retries=0)
    assert result.failure.kind == "bad-result"
    assert "other inputs" in result.failure.message


def float_model() -> bytes:
    builder = ModelBuilder()
    made = builder.tensor("made", (1, 4, 4, 8), "FLOAT32", scale=None)
    builder.op("RELU", [builder.input(dtype="FLOAT32")], [made], version=1)
    return builder.build([made])


@pytest.mark.parametrize("version", [V15, "16.0.384591198"])
def test_models_that_are_not_quantised(stand_in_program: Path, plan: Plan, version: str) -> None:
    plan(version=version)
    result = compile_model(float_model(), Compiler(stand_in_program, version))
    assert (result.failure.kind, result.exit_code) == ("not-quantized", 1)
    assert "Model not quantized" in result.failure.message


# Time limits


def children_of(marker: str) -> list[str]:
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if re.search(marker, line)]


def all_end(marker: str) -> bool:
    """Whether processes that were killed are gone soon; the system takes a moment to bury them."""
    deadline = time.monotonic() + 600
    while children_of(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not children_of(marker)


@pytest.mark.parametrize("hang", ["itself", "child"])
@pytest.mark.parametrize("version", [V15, "16.0.384591198"])
def test_a_compiler_that_hangs_is_stopped_with_its_children(
    stand_in_program: Path, plan: Plan, monkeypatch, version: str, hang: str
) -> None:
    monkeypatch.setattr("respect_tf.compile._compiler._GRACE_SECONDS", 0.1)
    plan(hang=hang, version=version)
    compiler = Compiler(stand_in_program, version)
    result = compile_model(chain_model("c"), compiler, timeout=0.6, name="hangs_for_good")
    assert (result.failure.kind, result.exit_code, result.attempts) == ("timeout", None, 1)
    assert "0.6 seconds" in result.failure.message
    assert all_end("hangs_for_good.tflite")


def test_the_compilers_own_time_limit(
    compiler: Compiler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respect_tf.compile._compiler._GRACE_SECONDS", 600)  # for slow machines
    plan(own_timeout=True)
    result = compile_model(chain_model("c"), compiler, timeout=0.5)
    assert (result.failure.kind, result.exit_code) == ("timeout", 1)
    assert "caused by large activations" in result.failure.message


def test_ctrl_c_stops_every_program(
    compiler: Compiler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(hang="child")
    segments = tuple(
        dataclasses.replace(s, name=f"interrupted_{s.index}") for s in segments_of("cccc", 4)
    )
    started = threading.Event()

    def interrupted(tasks):
        started.set()
        while len(children_of("stand_in_compiler.py .*interrupted_")) < 2:
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("respect_tf.compile._compilation._as_they_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_segments(segments, compiler, num_workers=2, verbose=0)
    assert started.is_set()
    assert all_end("interrupted_")


# Narrowing down


def test_a_failure_is_narrowed_down_to_the_op(compiler: Compiler, plan: Plan) -> None:
    plan(fail_on=["RELU"])
    compilation = compile_segments(segments_of("ccccrc"), compiler, verbose=0)
    (failed,) = compilation.failed
    assert failed.failing_ops.ops == (4,)
    assert failed.failing_ops.smallest
    assert [s.compiled is not None for s in compilation.segments] == [True, False]
    with pytest.raises(CompilerError, match=r"1 of 2 segments.*op 4 RELU '") as caught:
        compilation.check()
    assert "large-activations" in str(caught.value)
    entry = compilation.to_dict()["segments"][1]
    assert entry["failure"]["kind"] == "large-activations"
    assert entry["failing_ops"]["ops"] == (4,)


def test_narrowing_is_bounded_in_time(compiler: Compiler, plan: Plan) -> None:
    plan(fail_on=["RELU"])
    segments = segments_of("cccr", 1)
    (none,) = compile_segments(segments, compiler, narrow_seconds=0, verbose=0).failed
    assert none.failing_ops is None
    (little,) = compile_segments(segments, compiler, narrow_seconds=1e-9, verbose=0).failed
    assert little.failing_ops.ops == (0, 1, 2, 3)
    assert not little.failing_ops.smallest
    assert "took too long" in str(little.failing_ops)


# Arguments and results


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": float("inf")}, {"timeout": True}, {"retries": -1},
     {"retries": 1.5}, {"num_workers": 0}, {"narrow_seconds": -1}],
)  # fmt: skip
def test_limits_out_of_range_are_refused(compiler: Compiler, arguments: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        compile_segments(segments_of(), compiler, **arguments)


def test_a_compiler_that_vanished_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="cannot be started"):
        compile_segments(segments_of(), Compiler(tmp_path / "gone", "16.0.1"), verbose=0)


def test_an_interface_that_differs_is_told(tmp_path: Path) -> None:
    first, second = segments_of("cc")
    check_same_interface(compiled_like(first.content), first.content)
    with pytest.raises(CompilerError, match=r"other inputs.*Expected: .*'input_0' int8"):
        check_same_interface(compiled_like(second.content), first.content)


def test_nothing_is_left_in_the_temporary_folder(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(empty))
    compile_segments(segments_of("cc"), compiler, verbose=0)
    assert list(empty.iterdir()) == []


def test_without_a_place_for_temporary_files_there_is_a_clear_error(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    for call in (lambda: compile_model(b"", compiler), lambda: find_compiler(compiler.path)):
        with pytest.raises(CompilerError, match=r"No such file.*TMPDIR"):
            call()


def test_a_version_of_very_many_digits_is_none(tmp_path: Path) -> None:
    program = script(tmp_path, f"#!/bin/sh\necho Edge TPU Compiler version {'9' * 5000}.0\n")
    with pytest.raises(CompilerError, match="does not answer as edgetpu_compiler") as caught:
        find_compiler(program)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize("leaves", ["", "setsid "])
@pytest.mark.parametrize("ends", ["", "exit 3\n"])
def test_nothing_is_left_in_the_background(tmp_path: Path, leaves: str, ends: str) -> None:
    marker = f"left_behind_{tmp_path.name}"
    program = script(
        tmp_path,
        f"#!/bin/sh\n{leaves}sh -c 'sleep 600; : {marker}' > /dev/null 2>&1 < /dev/null &\n"
        f"while ! grep -qs {marker} /proc/[0-9]*/cmdline; do :; done\n{ends}",
    )
    result = compile_model(chain_model("c"), Compiler(program, V15), retries=0)
    assert result.failure is not None
    assert all_end(f": {marker}")


def copier(folder: Path, printed: str = "") -> Compiler:
    """A compiler that gives every model back as it was."""
    (folder / "printed").write_text(printed)
    text = f'#!/bin/sh\nfor model; do :; done\ncat {folder}/printed\ncp "$model" '
    return Compiler(script(folder, text + '"${model%.tflite}_edgetpu.tflite"\n'), V15)


def log_of(fields: str) -> str:
    return f"Edge TPU Compiler version {V15}\nInput model: m.tflite\n{fields}\n"


@pytest.mark.parametrize(
    "printed",
    ["", "done", log_of(""), log_of("Number of Edge TPU subgraphs: 1"),
     log_of("Operator Count Status\nCONV_2D 1 Mapped to Edge TPU")],
)  # fmt: skip
def test_a_model_that_was_not_compiled_is_not_believed_to_be(tmp_path: Path, printed: str) -> None:
    result = compile_model(chain_model("c"), copier(tmp_path, printed), retries=0)
    assert result.content is None
    assert result.failure.kind in ("bad-result", "silent")


@pytest.mark.parametrize(
    "fields",
    ["Number of Edge TPU subgraphs: 0", "Number of operations that will run on Edge TPU: 0",
     "Operator Count Status\nCONV_2D 1 Operation not supported"],
)  # fmt: skip
def test_a_model_of_which_nothing_can_be_mapped_stays_as_it_is(tmp_path: Path, fields: str) -> None:
    result = compile_model(chain_model("c"), copier(tmp_path, log_of(fields)), retries=0)
    assert (result.failure, result.content) == (None, chain_model("c"))


def test_a_result_that_is_no_regular_file_is_none(tmp_path: Path) -> None:
    text = '#!/bin/sh\nfor model; do :; done\nmkfifo "${model%.tflite}_edgetpu.tflite"\n'
    result = compile_model(chain_model("c"), Compiler(script(tmp_path, text), V15), retries=0)
    assert (result.content, result.failure.kind) == (None, "silent")


def test_where_the_log_cannot_be_read_the_model_says_what_is_streamed(
    compiler: Compiler, plan: Plan, tmp_path: Path
) -> None:
    plan(room_bytes=100)
    (known,) = compile_segments(segments_of("ccc", 1), compiler, verbose=0).results
    garbling = script(
        tmp_path, f'#!/bin/sh\n"{compiler.path}" "$@" > /dev/null\necho words of another release\n'
    )
    made = compile_segments(segments_of("ccc", 1), Compiler(garbling, V15), verbose=0)
    assert made.failed == ()
    assert made.results[0].log is None
    assert made.streamed_bytes == (read_compiled(known.result.content).streamed_bytes,)
    assert made.streamed_bytes[0] > 0
