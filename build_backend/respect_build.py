"""setuptools' build backend, which also compiles the loops in C that the package brings.

Where there is no C compiler, pip is asked for the package `ziglang`, which is one.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # the hooks that are not changed here
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

_FOLDER = Path(__file__).resolve().parents[1] / "respect_tf" / "_loops"


def _loops() -> ModuleType:
    """The module that compiles; the package cannot be imported before it is built."""
    spec = importlib.util.spec_from_file_location("_respect_loops_build", _FOLDER / "_build.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_FOLDER / "_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildWithLoops(build_py):
    """Compiles the loops into the package."""

    def run(self) -> None:
        """See setuptools."""
        super().run()
        target = _FOLDER
        if not self.editable_mode:
            target = Path(self.build_lib) / "respect_tf" / "_loops"
        if _loops().build(target) is None:
            self.warn("No C compiler was found: the search is built without its loops.")


class PlatformWheel(bdist_wheel):
    """A wheel for this platform and any Python: the library is no extension module."""

    def finalize_options(self) -> None:
        """See setuptools."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """See setuptools."""
        return "py3", "none", super().get_tag()[2]


def _compiler() -> list[str]:
    """What has to be there to compile, beside what is."""
    with tempfile.TemporaryDirectory() as folder:
        return [] if _loops().build(Path(folder)) is not None else ["ziglang>=0.13"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """See PEP 517."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """See PEP 660."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler()]
