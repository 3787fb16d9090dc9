"""Notebooks are committed with outputs, and whoever runs them hears of failures."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat
import pytest

from examples.notebooks import cleaned, execute, notebooks, read, tidied

_NOTEBOOKS = notebooks()


def _names(path):
    return path.stem


def test_the_notebooks_are_there():
    assert [path.stem for path in _NOTEBOOKS] == [
        "callbacks",
        "compare_schedulers",
        "deploy_to_coral",
        "detection",
        "how_many_edge_tpus",
        "quickstart",
        "segmentation",
        "train_policy",
        "trained_model",
        "your_measurements",
    ]


@pytest.mark.parametrize("path", _NOTEBOOKS, ids=_names)
def test_notebooks_are_committed_with_small_outputs_that_tell_nothing_of_a_machine(path):
    notebook = read(path)
    assert notebook == tidied(notebook), "run: python -m examples.notebooks --keep"
    assert path.stat().st_size < 400_000
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in codes for output in cell.outputs]
    assert len(shown) >= 3
    assert not [output for output in shown if output.output_type == "error"]
    text = json.dumps(notebook)
    assert str(Path.home()) not in text
    assert tempfile.gettempdir() + "/tmp" not in text
    assert "site-packages" not in text


@pytest.mark.parametrize("path", _NOTEBOOKS, ids=_names)
def test_notebooks_explain_before_they_show(path):
    cells = read(path).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    kinds = [cell.cell_type for cell in cells]
    assert kinds.count("markdown") >= 5
    assert kinds.count("code") >= 5


def test_the_index_lists_every_notebook_and_script():
    folder = Path(__file__).resolve().parents[2] / "examples"
    listed = set(re.findall(r"\]\((\w+\.(?:ipynb|py))\)", (folder / "README.md").read_text()))
    there = {path.name for path in folder.glob("*.*") if path.suffix in (".ipynb", ".py")}
    assert listed == there - {"__init__.py"}


def test_cleaning_removes_outputs_and_keeps_sources():
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=3)
    cell.outputs = [nbformat.v4.new_output("stream", text="2")]
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("text")])
    clean = cleaned(notebook)
    nbformat.validate(clean)
    assert [cell.source for cell in clean.cells] == ["1 + 1", "text"]
    assert clean.cells[0].outputs == []
    assert clean.cells[0].execution_count is None
    assert cell.outputs  # the given notebook stays as it is
    assert cleaned(clean) == clean


def test_outputs_are_kept_as_a_screen_shows_them_in_the_end():
    noise = "I0000 00:00:1.2 noise\nWork ... 2 s"
    cell = nbformat.v4.new_code_cell("work()", execution_count=7)
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text=noise),
        nbformat.v4.new_output("stream", name="stderr", text="\r            \r"),
        nbformat.v4.new_output("stream", text="\x1b[1mdone\x1b[0m in 3 s\n"),
        nbformat.v4.new_output(
            "execute_result",
            {"image/svg+xml": "<svg/>", "text/plain": "<A at 0x7f00>"},
            execution_count=7,
        ),
    ]
    tidy = tidied(nbformat.v4.new_notebook(cells=[cell]))
    nbformat.validate(tidy)
    stream, result = tidy.cells[0].outputs
    assert stream.text == "done in 3 s\n"
    assert result.data == {"text/plain": "<A>"}
    assert tidy.cells[0].execution_count == 1
    assert tidied(tidy) == tidy


def test_unknown_notebooks_are_refused():
    with pytest.raises(ValueError, match="quickstart"):
        notebooks(["slowstart"])


@pytest.mark.slow
def test_a_cell_that_fails_is_an_error_and_leaves_what_was_shown(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in ("print('seen')", "assert 1 > 2")]
    path = tmp_path / "failing.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="1 > 2"):
        execute(path, tmp_path / "results")
    shown = nbformat.read(tmp_path / "results" / "failing.ipynb", as_version=4)
    assert shown.cells[0].outputs[0].text == "seen\n"
    assert nbformat.read(path, as_version=4).cells[0].outputs == []


@pytest.mark.slow
def test_the_command_ends_with_an_error_where_a_notebook_is_unknown():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "examples.notebooks", "slowstart"],
        cwd=root, capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 2
    assert "There is no notebook 'slowstart'" in done.stderr
