"""Run the notebooks of this folder as CI does, or write what they show into them for a commit.

    python -m examples.notebooks                # run all; what they show goes to out/notebooks
    python -m examples.notebooks quickstart     # run some
    python -m examples.notebooks --keep         # run, and keep the outputs in the notebooks

Notebooks are committed with their outputs, so that whoever only looks sees results. Nothing
compares outputs: times and last digits differ from machine to machine.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent
RESULTS = Path("out") / "notebooks"
_CELL_SECONDS = 600
_CHATTER = re.compile(r"WARNING: All log messages before absl|[IWE]0000 00:00:|[IWE]\d{4} \d\d:")


def notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of this folder, or those named, with or without `.ipynb`."""
    paths = sorted(HERE.glob("*.ipynb"))
    if not names:
        return paths
    known = {path.stem: path for path in paths}
    wanted = [Path(name).stem for name in names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"There is no notebook '{unknown[0]}'. There are: {', '.join(known)}.")
    return [known[name] for name in wanted]


def cleaned(notebook: Any) -> Any:
    """The same notebook without outputs, its cells numbered from the top."""
    clean = copy.deepcopy(notebook)
    clean.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    clean.nbformat, clean.nbformat_minor = 4, 5
    for number, cell in enumerate(clean.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return clean


def tidied(notebook: Any) -> Any:
    """A notebook that has run, without what is about the machine or the moment.

    Lines that were written over are gone, as on a screen, and so are colours, identities of
    objects and the places of temporary folders. Anything but texts, pictures and pages is left out.
    """
    tidy = cleaned(notebook)
    for number, (cell, ran) in enumerate(zip(tidy.cells, notebook.cells, strict=True), 1):
        if cell.cell_type != "code":
            continue
        cell.execution_count = number
        for output in ran.outputs:
            kept = copy.deepcopy(output)
            if kept.output_type == "stream":
                before = cell.outputs[-1] if cell.outputs else None
                if before is not None and before.output_type == "stream":
                    before.text += kept.text
                    continue
                kept.name = "stdout"
            elif "data" in kept:
                kept.data = {
                    kind: _as_seen(value) if kind.startswith("text/") else value
                    for kind, value in kept.data.items()
                    if kind in ("text/plain", "text/html", "image/png")
                }
                if {"text/html", "image/png"} & {*kept.data}:
                    kept.data["text/plain"] = "(see the picture or table)"
                kept.metadata = {}
                if kept.output_type == "execute_result":
                    kept.execution_count = number
            cell.outputs.append(kept)
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = _as_seen(output.text)
        cell.outputs = [output for output in cell.outputs if output.get("text", "some").strip()]
    return tidy


def _as_seen(text: str) -> str:
    """What a screen shows of a text in the end."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        if not _CHATTER.match(shown):
            lines.append(shown.rstrip())
    text = "\n".join(lines)
    text = text.replace(str(HERE.parent), "respect_tf").replace(str(Path.home()), "~")
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/tmp\w+", "/tmp/folder", text)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def read(path: Path) -> Any:
    """A notebook, checked against the format's schema."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def write(notebook: Any, path: Path) -> None:
    """Write a notebook as Jupyter would, with sorted keys."""
    nbformat.write(notebook, path)


def execute(path: Path, folder: Path = RESULTS) -> float:
    """Run a notebook in a kernel of its own, with its folder as the working directory.

    Args:
        path: The notebook; it stays as it is.
        folder: Where a copy with the outputs goes, also where a cell fails.

    Returns:
        Seconds.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed; the message holds the traceback.
    """
    notebook = read(path)
    client = nbclient.NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{path.stem}.log").open("wb") as log:  # what the kernel itself has to say
        try:
            client.execute(stderr=log)
        finally:
            write(notebook, folder / path.name)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Run notebooks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="which; all if left out")
    parser.add_argument("--keep", action="store_true", help="keep the outputs in the notebooks")
    options = parser.parse_args(arguments)
    try:
        paths = notebooks(options.names)
    except ValueError as error:
        parser.error(str(error))
    # Kernels find this package in a clone that is not installed, and show no log of TensorFlow.
    root = str(HERE.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for path in paths:
        print(f"{path.name} ...", end=" ", flush=True)
        try:
            print(f"{execute(path):.0f} s", flush=True)
            if options.keep:
                write(tidied(read(RESULTS / path.name)), path)
        except nbclient.exceptions.CellExecutionError as error:
            print("failed")
            sys.exit(re.sub(r"\x1b\[[\d;]*m", "", str(error)))  # without colours


if __name__ == "__main__":
    main()
