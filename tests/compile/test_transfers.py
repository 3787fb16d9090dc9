"""What compiled programs move at each inference."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from compiled_models import (
    EXECUTION_ONLY,
    INPUT,
    OUTPUT,
    PARAMETER_CACHING,
    PARAMETERS,
    Program,
    compile_ops,
    options,
    package,
)
from model_builder import ModelBuilder

from respect_tf._errors import InvalidModelError
from respect_tf.compile import Transfers, read_compiled


def _compiled(*programs: Program):
    builder = ModelBuilder()
    model = builder.build([builder.relu(builder.input())])
    return read_compiled(compile_ops(model, 1, options(package(programs))))


def _pairs(folder: Path) -> list[Path]:
    rows = csv.DictReader((folder / "compiled/manifest.csv").read_text("utf-8").splitlines())
    files = [folder / "compiled" / row["compiled"] for row in rows]
    return files + sorted((folder / "compiled/more").glob("*_edgetpu.tflite"))


def test_every_kind_of_transfer_is_summed_over_the_programs_that_run() -> None:
    hints = (0, (INPUT, 300), (PARAMETERS, 64), (INPUT, 200), 1, (OUTPUT, 8), 0, None)
    run = Program(EXECUTION_ONLY, 64, (640, 32), hints=hints)
    load = Program(PARAMETER_CACHING, 1000, (128,), hints=(0, (PARAMETERS, 1000), None))
    found = _compiled(run, load)
    transfers = [program.transfers for program in found.edge_tpu_ops[0].executables]
    assert transfers == [
        Transfers(500, 8, 64, 2 * 640 + 32, True),
        Transfers(0, 0, 1000, 128, True),
    ]
    assert (found.input_bytes, found.output_bytes) == (500, 8)
    assert (found.run_instruction_bytes, found.instruction_bytes) == (672, 800)
    whole = found.to_dict()
    assert (whole["input_bytes"], whole["output_bytes"]) == (500, 8)
    assert whole["run_instruction_bytes"] == 672


def test_a_file_without_hints_does_not_say() -> None:
    found = _compiled(Program(EXECUTION_ONLY, 64, (640,)))
    assert found.edge_tpu_ops[0].executables[0].transfers is None
    assert (found.input_bytes, found.output_bytes) == (None, None)
    assert found.run_instruction_bytes == 640


def test_hints_that_are_not_all_do_not_count_as_the_whole() -> None:
    found = _compiled(Program(EXECUTION_ONLY, hints=((INPUT, 16),), complete=False))
    assert found.edge_tpu_ops[0].executables[0].transfers == Transfers(16, 0, 0, 0, False)
    assert (found.input_bytes, found.output_bytes) == (None, None)


@pytest.mark.parametrize(
    ("hint", "words"), [(1, "chunk 1 of 1"), (-1, "chunk -1"), ((INPUT, -5), "-5 bytes")]
)
def test_hints_that_cannot_be_are_named(hint, words) -> None:
    with pytest.raises(InvalidModelError, match=f"hint 0 moves {words}"):
        _compiled(Program(EXECUTION_ONLY, hints=(hint,)))


def test_public_files_list_all_transfers_but_those_of_the_lstm(data_folder: Path) -> None:
    for path in _pairs(data_folder):
        found = read_compiled(path.read_bytes())
        for program in (p for op in found.edge_tpu_ops for p in op.executables):
            assert program.transfers.parameter_bytes == program.parameter_bytes, path.name
            assert program.transfers.instruction_bytes == program.instruction_bytes, path.name
        assert (found.input_bytes is None) == path.name.startswith("keras_lstm"), path.name


def test_outputs_are_padded_to_four_channels_and_everything_to_eight_bytes(
    data_folder: Path,
) -> None:
    in_strips = 0
    for path in _pairs(data_folder):
        found = read_compiled(path.read_bytes())
        for op in found.edge_tpu_ops:
            if op.input_bytes is None:
                continue
            programs = [p for p in op.executables if p.kind != "parameter-caching"]
            made = [layer for program in programs for layer in program.outputs]
            left = [math.prod(o.shape[:-1]) * _up(o.shape[-1], 4) for o in made]
            assert op.output_bytes == sum(_up(size, 8) for size in left), path.name
            read = [layer for program in programs for layer in program.inputs]
            entered = sum(_up(math.prod(layer.shape), 8) for layer in read)
            # Strips of a large map overlap: up to 12 % more enters.
            assert entered <= op.input_bytes <= 1.12 * entered, path.name
            in_strips += op.input_bytes > entered
    assert in_strips == 5


def test_a_published_trace_shows_what_a_file_says(data_folder: Path) -> None:
    path = data_folder / "compiled/more/mobilefacenet_edgetpu.tflite"
    found = read_compiled(path.read_bytes())
    assert (found.input_bytes, found.output_bytes) == (112 * 112 * 3, 8)
    assert found.run_instruction_bytes == 275_360


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
