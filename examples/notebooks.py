"""Run the notebooks of this folder as CI does, or clean them before a commit.

    python -m examples.notebooks                # run all; what they show goes to out/notebooks
    python -m examples.notebooks quickstart     # run some
    python -m examples.notebooks --clean        # remove outputs and number the cells

Notebooks are committed without outputs, so that a change of theirs can be read.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent
RESULTS = Path("out") / "notebooks"
_CELL_SECONDS = 600


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
    """Run or clean notebooks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="which; all if left out")
    parser.add_argument("--clean", action="store_true", help="remove outputs, number the cells")
    options = parser.parse_args(arguments)
    try:
        paths = notebooks(options.names)
    except ValueError as error:
        parser.error(str(error))
    if options.clean:
        for path in paths:
            write(cleaned(read(path)), path)
        return
    # Kernels find this package in a clone that is not installed, and show no log of TensorFlow.
    root = str(HERE.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for path in paths:
        print(f"{path.name} ...", end=" ", flush=True)
        try:
            print(f"{execute(path):.0f} s", flush=True)
        except nbclient.exceptions.CellExecutionError as error:
            print("failed")
            sys.exit(re.sub(r"\x1b\[[\d;]*m", "", str(error)))  # without colours


if __name__ == "__main__":
    main()
