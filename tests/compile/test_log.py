from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respect_tf._errors import CompilerError
from respect_tf.compile import CompilerLog, OpStatus, parse_log

MIB, KIB = 1024**2, 1024

V16 = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 141 ms.

Input model: in.tflite
Input size: 5.11MiB
Output model: in_edgetpu.tflite
Output size: 5.09MiB
On-chip memory used for caching model parameters: 18.00KiB
On-chip memory remaining for caching model parameters: 6.86MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: in_edgetpu.log

Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
RESHAPE                        1          Operation not supported
Compilation child process completed within timeout period.
Compilation succeeded! 
"""  # noqa: W291 - the compiler prints the space


@pytest.fixture(scope="module")
def samples(data_folder: Path) -> dict[str, str]:
    """Name -> log; the sample that holds one failure per block is taken apart."""
    found = {}
    for path in sorted((data_folder / "compiler_logs").iterdir()):
        if path.name.startswith("09"):
            for block in path.read_text("utf-8").split("### ")[1:]:
                title, _, text = block.partition("\n")
                found[title] = text
        else:
            found[path.name[:2]] = path.read_text("utf-8")
    return found


def test_every_public_sample_parses_to_the_last_line(samples) -> None:
    assert len(samples) == 12 + 8
    for name, text in samples.items():
        # Excerpts end with a remark of whoever cut them.
        assert all(line.startswith("[") for line in parse_log(text).other_lines), name


def test_figures_of_release_16(samples) -> None:
    log = parse_log(samples["03"])
    (model,) = log.models
    assert (log.version, log.compile_ms, log.timeout_seconds) == ("16.0.384591198", 1604, 180)
    assert (model.input_file, model.output_file) == (
        "srgan_quant_2.tflite",
        "srgan_quant_2_edgetpu.tflite",
    )
    assert model.input_bytes == round(1.58 * MIB)
    assert model.output_bytes == round(2.57 * MIB)
    assert model.on_chip_used_bytes == round(1.42 * MIB)
    assert model.on_chip_remaining_bytes == round(6.25 * KIB)
    assert model.on_chip_available_bytes is None
    assert model.room_bytes == round(1.42 * MIB) + round(6.25 * KIB)
    assert model.off_chip_bytes == round(150.5 * KIB)
    assert (model.num_subgraphs, model.num_ops) == (3, 82)
    assert (model.num_edge_tpu_ops, model.num_cpu_ops) == (76, 6)
    assert sum(row.count for row in model.ops if row.mapped) == 76
    assert [row for row in model.ops if not row.mapped] == [
        OpStatus(kind, count, "Tensor has unsupported rank (up to 3 innermost dimensions mapped)")
        for kind, count in (("RESHAPE", 4), ("TRANSPOSE", 2))
    ]
    assert log.failures == ()


def test_figures_of_release_15(samples) -> None:
    log = parse_log(samples["04"])
    (model,) = log.models
    assert (log.version, log.timeout_seconds) == ("15.0.340273435", None)
    assert model.on_chip_remaining_bytes == round(7.16 * MIB)
    assert [(row.op_type, row.count) for row in model.ops] == [
        ("TRANSPOSE_CONV", 3), ("RELU", 3), ("CONV_2D", 7),
    ]  # fmt: skip


def test_release_2_prints_the_whole_room_as_available(samples) -> None:
    (model,) = parse_log(samples["05"]).models
    assert model.on_chip_available_bytes == model.room_bytes == round(6.25 * MIB)
    assert model.on_chip_remaining_bytes is None
    assert model.off_chip_bytes == round(18.43 * MIB)


def test_several_models_in_one_run(samples) -> None:
    first, second = parse_log(samples["06"]).models
    assert (first.num_ops, second.num_ops) == (57, 6)
    assert second.on_chip_used_bytes == 2 * MIB


def test_a_model_and_a_failure_in_one_run(samples) -> None:
    log = parse_log(samples["07"])
    assert len(log.models) == 1
    assert log.failures


@pytest.mark.parametrize(("name", "num_rows"), [("10", 6), ("11", 11), ("12", 17)])
def test_tables_of_operations(samples, name: str, num_rows: int) -> None:
    (model,) = parse_log(samples[name]).models
    assert len(model.ops) == num_rows


def test_one_type_may_have_several_statuses(samples) -> None:
    (model,) = parse_log(samples["12"]).models
    rows = [(row.count, row.mapped) for row in model.ops if row.op_type == "QUANTIZE"]
    assert rows == [(2, False), (24, True)]
    assert sum(row.count for row in model.ops) == model.num_ops


def test_kinds_of_failures(samples) -> None:
    kinds = [parse_log(text).failures[0].kind for name, text in samples.items() if "issue" in name]
    assert kinds == [
        "not-quantized", "internal", "unreadable", "interpreter", "large-activations", "crash",
        "silent",
    ]  # fmt: skip


def test_a_failure_repeats_what_tflite_said(samples) -> None:
    (text,) = (text for name, text in samples.items() if "custom op" in name)
    (failure,) = parse_log(text).failures
    assert failure.kind == "interpreter"
    assert "unresolved custom op: Atan" in failure.message
    assert "ensure model can be loaded" in failure.message


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Compilation timeout. This is usually caused by large activations.", "timeout"),
        ("libc++abi: terminating with uncaught exception of type std::out_of_range", "crash"),
        ("", "other"),
    ],
)
def test_a_failure_is_counted_once(line: str, kind: str) -> None:
    text = f"Edge TPU Compiler version 16.0.384591198\n{line}\nCompilation failed! \n"
    assert [failure.kind for failure in parse_log(text).failures] == [kind]


def test_file_names_are_no_failures() -> None:
    text = V16.replace("in.tflite", "Segmentation fault: Aborted.tflite")
    log = parse_log(text)
    assert log.failures == ()
    assert log.models[0].input_file == "Segmentation fault: Aborted.tflite"


@pytest.mark.parametrize("text", ["", "\n\n", "hello", "Segment 1\nOutput of something else"])
def test_text_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(CompilerError, match="no output of edgetpu_compiler"):
        parse_log(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("6.86MiB", "6.86 parsecs", "Line 11 .*'On-chip memory remaining.*6.86 parsecs"),
        ("operations: 3", "operations: three", "Line 14 .*whole number.*'three'"),
        ("Input model: in.tflite\n", "", "belongs to no model"),
    ],
)
def test_figures_in_an_unknown_form_are_refused(old: str, new: str, words: str) -> None:
    with pytest.raises(CompilerError, match=words):
        parse_log(V16.replace(old, new))


def test_output_of_two_runs_is_refused() -> None:
    with pytest.raises(CompilerError, match="second run"):
        parse_log(V16 + V16)


def test_unknown_lines_are_kept() -> None:
    assert parse_log(V16 + "WARNING: the moon is full\n").other_lines == (
        "WARNING: the moon is full",
    )


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_changed_logs_parse_or_are_refused(data: st.DataObject) -> None:
    lines = V16.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        action = data.draw(st.sampled_from(["drop", "repeat", "cut", "insert"]))
        if action == "drop" and len(lines) > 1:
            del lines[place]
        elif action == "repeat":
            lines.insert(place, lines[data.draw(st.integers(0, len(lines) - 1))])
        elif action == "cut":
            lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
        else:
            lines.insert(place, data.draw(st.text(max_size=60)))
    with contextlib.suppress(CompilerError):
        assert isinstance(parse_log("\n".join(lines)), CompilerLog)


@given(st.text(max_size=400))
@settings(deadline=None)
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(CompilerError):
        parse_log("Edge TPU Compiler version 16.0\n" + text)
