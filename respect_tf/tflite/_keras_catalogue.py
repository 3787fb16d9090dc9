"""What a configuration may name: the classes and functions that a Keras package builds models of.

Nothing is imported by name. A class counts if it lies in a module that the package itself has
loaded, was defined there, and derives from one of the bases that models are built of.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

KerasKind = Literal["keras", "tf_keras"]

# Public names of the classes that everything in a model derives from. A name that a version of the
# package lacks is left out.
_BASES = (
    "Operation",  # Keras 3: layers, and the ops of functional models
    "layers.Layer",
    "initializers.Initializer",
    "regularizers.Regularizer",
    "constraints.Constraint",
    "losses.Loss",
    "metrics.Metric",
    "optimizers.Optimizer",
    "optimizers.legacy.Optimizer",
    "optimizers.schedules.LearningRateSchedule",
    "dtype_policies.DTypePolicy",
    "dtype_policies.DTypePolicyMap",
    "mixed_precision.Policy",
    "quantizers.Quantizer",
    "random.SeedGenerator",
)
# Classes that take code, another file, or a name to look up. Lambda and the TensorFlow ops of
# tf_keras have rules of their own.
REFUSED = frozenset(
    {
        "TFSMLayer",
        "TorchModuleWrapper",
        "JaxLayer",
        "FlaxLayer",
        "ClassMethod",
        "InstanceMethod",
        "InstanceProperty",
        "ModuleWrapper",
    }
)
LAMBDA = "Lambda"
# Parts of the packages that are tools and no parts of models, by the folder under `src`.
_TOOLS = frozenset(
    {
        *("callbacks", "datasets", "distribution", "dtensor", "estimator", "export", "saving"),
        *("testing", "testing_infra", "tests", "trainers", "utils", "visualization", "wrappers"),
        "legacy_tf_layers",
    }
)
# Where functions that a configuration names lie: as public modules, and as folders under `src`.
_FUNCTION_MODULES = (
    *("activations", "losses", "metrics", "initializers", "regularizers", "constraints"),
)
_FUNCTION_FOLDERS = frozenset({*_FUNCTION_MODULES, "ops"})
# Tools that lie between those functions.
_NO_COMPUTATION = frozenset({"get", "serialize", "deserialize"})
# Modules of TensorFlow's own initialisers, which tf_keras's EfficientNets are made with.
_TENSORFLOW_INITIALIZERS = ("tensorflow.python.ops.init_ops", "tensorflow.python.ops.init_ops_v2")
# Packages of Keras's makers whose classes name their module only; importing one hands it over.
_HUBS = ("keras_hub", "keras_cv", "keras_nlp")


class Catalogue:
    """What one of the two packages may make of the names in a configuration.

    Args:
        package: `"keras"` or `"tf_keras"`.
        custom_objects: What the user handed over.
    """

    def __init__(self, package: KerasKind, custom_objects: Mapping[str, Any]) -> None:
        self.package: KerasKind = package
        self._root = importlib.import_module(package)
        self._custom_objects = dict(custom_objects)
        self._bases, self._by_name = _builtin(package)

    def handed_over(self, name: object) -> bool:
        """Whether the user passed or registered something by this very name."""
        if not isinstance(name, str):
            return False
        found = self._root.saving.get_registered_object(name, custom_objects=self._custom_objects)
        return found is not None

    def is_builtin(self, name: str) -> bool:
        """Whether files without module names may mean a class of the package by it."""
        return name in self._by_name

    def find_class(self, module: str, name: str) -> type | None:
        """The class of that name in a module, if it is one that models are built of."""
        if not name.isidentifier():  # "utils.get_file" in the module "keras"
            return None
        found = self._member(module, name)
        if isinstance(found, type) and self._is_part_of_models(found):
            return found
        if module in _TENSORFLOW_INITIALIZERS and isinstance(found, type):
            base = vars(sys.modules[module])["Initializer"]
            return found if issubclass(found, base) and found.__module__ == module else None
        hub = module.split(".", 1)[0] in _HUBS
        if hub and isinstance(found, type) and issubclass(found, self._bases):
            return found
        return None

    def find_function(self, module: str | None, name: str) -> bool:
        """Whether a function of that name is one that a model may compute with."""
        if not name.isidentifier() or name in _NO_COMPUTATION:
            return False
        if module in (None, "builtins"):  # as Keras writes its own functions
            homes: list[Any] = [getattr(self._root, part, None) for part in _FUNCTION_MODULES]
            found = [vars(home).get(name) for home in homes if isinstance(home, ModuleType)]
        else:
            found = [self._member(str(module), name)]
        return any(self._computes(function) for function in found)

    def _member(self, module: str, name: str) -> object:
        """What a loaded module holds by a name; None if there is no such module."""
        own = module.removeprefix("tf_") if module.split(".", 1)[0] == "tf_keras" else module
        if own.split(".", 1)[0] == "keras":
            loaded = self._public(own.split(".")[1:])
            if loaded is None:
                prefix = "tf_" if self.package == "tf_keras" else ""
                loaded = sys.modules.get(prefix + own)
        else:
            loaded = sys.modules.get(module)
        return None if loaded is None else vars(loaded).get(name)

    def _public(self, parts: list[str]) -> ModuleType | None:
        """A module that is reached by attributes from the package, as `keras.layers` is."""
        module: object = self._root
        for part in parts:
            module = vars(module).get(part) if isinstance(module, ModuleType) else None
            if not (isinstance(module, ModuleType) and self._owns(module.__name__)):
                return None
        return module if isinstance(module, ModuleType) else None

    def _owns(self, module: str) -> bool:
        return module.split(".", 1)[0] == self.package

    def _is_part_of_models(self, cls: type) -> bool:
        return issubclass(cls, self._bases) and _is_original(cls, self.package)

    def _computes(self, function: object) -> bool:
        if isinstance(function, type):
            return self._is_part_of_models(function)
        function = inspect.unwrap(function) if callable(function) else function
        parts = str(getattr(function, "__module__", "")).split(".")
        return (
            inspect.isfunction(function)
            and parts[:2] == [self.package, "src"]
            and len(parts) > 2
            and parts[2] in _FUNCTION_FOLDERS
        )


@functools.cache
def _builtin(package: KerasKind) -> tuple[tuple[type, ...], frozenset[str]]:
    """The bases, and the names of all classes of the package that derive from them."""
    root = importlib.import_module(package)
    bases = []
    for path in _BASES:
        found: Any = root
        for part in path.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            bases.append(found)
    names: set[str] = set()
    seen: set[type] = set()
    waiting: list[type] = list(bases)
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.add(cls)
        waiting.extend(type.__subclasses__(cls))
        if _is_original(cls, package):
            names.add(cls.__name__)
    # Names under which the package exports them: "L2", "BatchNormalizationV2", "glorot_uniform".
    for part in sorted({path.split(".", 1)[0] for path in _BASES if "." in path} | {"models"}):
        for name, value in vars(getattr(root, part, root)).items():
            if isinstance(value, type) and value in seen and _is_original(value, package):
                names.add(name)
    return tuple(bases), frozenset(names)


def _is_original(cls: type, package: KerasKind) -> bool:
    """Whether the package itself defined a class, in a part that makes models."""
    parts = cls.__module__.split(".")
    if parts[:2] != [package, "src"] or _TOOLS.intersection(parts[2:-1]):
        return False
    home = sys.modules.get(cls.__module__)
    return home is not None and vars(home).get(cls.__name__) is cls
