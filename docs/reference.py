"""Builds the API reference from docstrings, with pdoc.

    python -m docs.reference            # into out/reference; open index.html there
    python -m docs.reference FOLDER

A page for each public package. A warning of pdoc's, about a name that cannot be found for example,
is an error.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("respect_tf", "keras_callbacks")
RESULTS = Path("out") / "reference"


def public_modules() -> list[str]:
    """The packages that users import from: those with public names, without private modules."""
    found = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        folders = pkgutil.iter_modules(package.__path__, f"{name}.")
        found += [name, *(folder.name for folder in folders if folder.ispkg)]
    return found


def build(folder: Path = RESULTS) -> Path:
    """Write the pages.

    Args:
        folder: Where to.

    Returns:
        The first page.
    """
    import pdoc.render

    modules = public_modules()
    for name in modules:
        module = importlib.import_module(name)
        for public in module.__all__:  # names are loaded at first use; pdoc needs them now
            setattr(module, public, getattr(module, public))
    pdoc.render.configure(docformat="google", show_source=False, search=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*modules, output_directory=folder)
    return folder / "index.html"


def main(arguments: Sequence[str]) -> None:
    """Build, and say where."""
    print(build(*map(Path, arguments[:1])))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
