"""Python packages with TFLite's interpreter."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import sys
import types
from typing import Any

# In the order in which they are looked for: import name, name for pip.
PACKAGES = (
    ("ai_edge_litert", "ai-edge-litert"),
    ("tflite_runtime", "tflite-runtime"),
    ("tensorflow", "tensorflow"),
)
CHECK_NAME = "respect_tf_check"  # of the process that tries models


class LoadError(Exception):
    """A model cannot be loaded onto a device; the message says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class InterpreterPackage:
    """A Python package with TFLite's interpreter.

    Attributes:
        name: Its import name.
        version: Its version; "unknown" where it is not said.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def module(self) -> Any:
        """The module with `Interpreter` and `load_delegate`.

        Raises:
            LoadError: It cannot be imported.
        """
        try:
            if self.name != "tensorflow":
                return importlib.import_module(f"{self.name}.interpreter")
            _prepare_tensorflow()
            return importlib.import_module("tensorflow.lite.python.interpreter")
        except (ImportError, OSError, AttributeError) as error:
            raise LoadError(f"{self} cannot be imported: {error}") from error


def find_package(wanted: str | None = None) -> InterpreterPackage | None:
    """The first interpreter package that is installed, or None.

    Args:
        wanted: Import name of the one that is to be taken; any if left out.
    """
    for name, distribution in PACKAGES:
        if wanted in (None, name) and importlib.util.find_spec(name) is not None:
            try:
                return InterpreterPackage(name, importlib.metadata.version(distribution))
            except importlib.metadata.PackageNotFoundError:
                return InterpreterPackage(name, "unknown")
    return None


def _prepare_tensorflow() -> None:
    """Let TFLite's interpreter be imported without the rest of TensorFlow, in a process of ours.

    It takes 0.1 s instead of 3.5 s. Where TensorFlow is imported already, that is left as it is.
    """
    if "tensorflow" in sys.modules or __name__ not in ("__main__", CHECK_NAME):
        return
    spec = importlib.util.find_spec("tensorflow")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations or []) if spec else []
    package.__spec__ = spec
    sys.modules["tensorflow"] = package
