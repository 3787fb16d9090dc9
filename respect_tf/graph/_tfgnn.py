"""TF-GNN beside Keras 3.

TF-GNN is written for Keras 2 and refuses to be imported where `tf.keras` is Keras 3, which is what
it is unless the user asked for something else. Its modules are therefore given a TensorFlow of
their own, the real one but for `.keras`, which is that of the package tf_keras. Nothing that other
modules see is replaced: not `tf.keras`, not `sys.modules["tensorflow"]`, no environment variable.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any

from respect_tf._errors import DependencyError

_PACKAGE = "tensorflow_gnn"
_lock = threading.Lock()


def load_tfgnn() -> Any:
    """Import TF-GNN, whatever Keras `tf.keras` is and whichever was imported first.

    Models of TF-GNN are made of the layers of `load_tf_keras()`, not of `tf.keras`.

    Returns:
        The module `tensorflow_gnn`. Once this was called, a plain `import tensorflow_gnn` works,
        too.

    Raises:
        DependencyError: tensorflow-gnn or tf_keras is not installed.
    """
    with _lock:
        if _PACKAGE not in sys.modules:
            load_tf_keras()
            if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
                sys.meta_path.insert(0, _Finder())
        try:
            return importlib.import_module(_PACKAGE)
        except ModuleNotFoundError as error:
            raise _missing("tensorflow-gnn", error) from error


def load_tf_keras() -> Any:
    """Import Keras 2, the package tf_keras.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        return importlib.import_module("tf_keras")
    except ModuleNotFoundError as error:
        raise _missing("tf_keras", error) from error


def _missing(package: str, error: ModuleNotFoundError) -> DependencyError:
    return DependencyError(
        f"The module {error.name!r} is missing, which the TF-GNN network needs. Expected the "
        f"package {package} with what it depends on: pip install 'respect-tf[train]'."
    )


class _TensorFlow(types.ModuleType):
    """TensorFlow as the modules of TF-GNN see it."""

    def __init__(self) -> None:
        super().__init__("tensorflow")
        # What `tf.keras` itself would be, if it were Keras 2.
        self.keras = importlib.import_module("tf_keras.api._v2.keras")

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["tensorflow"], name)

    def __dir__(self) -> list[str]:
        return dir(sys.modules["tensorflow"])


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of TF-GNN where they are, and wraps their loaders."""

    def __init__(self) -> None:
        importlib.import_module("tensorflow")
        facade = _TensorFlow()

        def import_module(
            name: str,
            globals: Mapping[str, object] | None = None,
            locals: Mapping[str, object] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> types.ModuleType:
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            return facade if module is sys.modules.get("tensorflow") else module

        self._builtins = {**vars(builtins), "__import__": import_module}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _PACKAGE and not fullname.startswith(f"{_PACKAGE}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._builtins)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, with builtins that import the facade."""

    def __init__(self, loader: Any, module_builtins: dict[str, Any]) -> None:
        self._loader = loader
        self._builtins = module_builtins

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        module: types.ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__builtins__"] = self._builtins
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        # `inspect`, `linecache` and `pkgutil` ask loaders for sources and the like.
        return getattr(self._loader, name)
