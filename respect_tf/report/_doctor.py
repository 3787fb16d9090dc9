"""What `respect-tf doctor` says about an installation."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from respect_tf._errors import CompilerError
from respect_tf.compile import find_compiler
from respect_tf.report._doctor_devices import examine_devices
from respect_tf.report._finding import Finding

# Distribution -> import name, versions that this release was tried with.
_REQUIRED = {
    "tensorflow": "2.16 to 2.21",
    "keras": "3.4 or newer",
    "tf_keras": "2.16 to 2.21",
    "numpy": "1.26 or newer",
    "flatbuffers": "24.3.25 or newer",
    "scipy": "1.11 or newer",
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


def examine_installation() -> list[Finding]:
    """Look for everything this package needs or can use. Nothing is installed or changed."""
    findings = [_python(), *(_package(name, tried) for name, tried in _REQUIRED.items())]
    findings += [_extra(name, *about) for name, about in _EXTRAS.items()]
    return [*findings, _compiler(), *examine_devices()]


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
