"""What `respect-tf doctor` says about an installation."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Any, Literal

from respect_tf._errors import CompilerError
from respect_tf.compile import find_compiler

Status = Literal["ok", "missing", "optional"]

# Distribution -> import name, versions that this release was tried with.
_REQUIRED = {
    "tensorflow": "2.16 to 2.21",
    "keras": "3.4 or newer",
    "tf_keras": "2.16 to 2.21",
    "numpy": "1.26 or newer",
    "flatbuffers": "24.3.25 or newer",
    "scipy": "1.11 or newer",
    "numba": "0.60 or newer",
    "highspy": "1.8 or newer",
    "rich": "13 or newer",
    "click": "8.1 or newer",
}

# Distribution -> what needs it, and the extra of this package that brings it.
_EXTRAS = {
    "tensorflow-gnn": ("to train the policy only", "train"),
    "cvxpy": ("to make labels for training only", "train"),
    "matplotlib": ("to draw pictures only", "plots"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        name: What was looked for.
        status: "ok", "missing" (needed), or "optional" (missing, but everything else works).
        found: What was found: a version, a path, or what is wrong.
        remedy: What to do; empty if all is well.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as a dict."""
        return dataclasses.asdict(self)


def examine_installation() -> list[Finding]:
    """Look for everything this package needs or can use. Nothing is installed or changed."""
    findings = [_python(), *(_package(name, tried) for name, tried in _REQUIRED.items())]
    findings += [_extra(name, *about) for name, about in _EXTRAS.items()]
    return [*findings, _compiler(), _pycoral()]


def _python() -> Finding:
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "ok", version)
    return Finding("Python", "missing", version, "use Python 3.10, 3.11, 3.12 or 3.13")


def _package(name: str, tried: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", f"pip install {name} ({tried})")


def _extra(name: str, needed: str, extra: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        remedy = f"needed {needed}: pip install 'respect-tf[{extra}]'"
        return Finding(name, "optional", "not installed", remedy)


def _compiler() -> Finding:
    try:
        compiler = find_compiler()
    except CompilerError as error:
        return Finding("edgetpu_compiler", "optional", "unfit", str(error))
    if compiler is not None:
        return Finding("edgetpu_compiler", "ok", f"{compiler.version}, {compiler.path}")
    remedy = "segments stay uncompiled; Google's compiler runs on x86-64 Linux only"
    return Finding("edgetpu_compiler", "optional", "not on the PATH", remedy)


def _pycoral() -> Finding:
    """The PyPI project named pycoral is something else, so the name alone proves nothing."""
    spec = importlib.util.find_spec("pycoral")
    if spec is None:
        remedy = "needed on the machine with the Edge TPUs only"
        return Finding("pycoral", "optional", "not installed", remedy)
    # Looked at, not imported: an unrelated package may do anything.
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if any((folder / "pipeline").is_dir() for folder in folders):
        return Finding("pycoral", "ok", "Google's")
    remedy = "pip uninstall pycoral; Google's wheels are not on PyPI"
    return Finding("pycoral", "optional", "an unrelated package of that name", remedy)
