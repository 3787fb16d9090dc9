"""TFLite's FlatBuffer schema, as TensorFlow generated it.

TensorFlow ships the generated module, which needs only `flatbuffers`. Loading that one file by its
path takes 0.1 s; `import tensorflow.lite` would take two seconds for the same thing.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from respect_tf._errors import RespectError
from respect_tf.tflite._budget import count_tables

# What op types call the op that Google's compiler puts in the place of those it has compiled.
EDGE_TPU_OP = "CUSTOM:edgetpu-custom-op"

_FILE = Path("lite", "python", "schema_py_generated.py")


@functools.cache
def schema() -> ModuleType:
    """The generated module: `ModelT`, `TensorT`, `BuiltinOperator` and so on.

    What it unpacks is counted against a `ReadingBudget`, where there is one.

    Raises:
        RespectError: TensorFlow is not installed, or has no such file.
    """
    spec = importlib.util.find_spec("tensorflow")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / _FILE
        if path.is_file():
            name = "respect_tf.tflite._generated_schema"
            module_spec = importlib.util.spec_from_file_location(name, path)
            if module_spec is None or module_spec.loader is None:
                continue
            module = importlib.util.module_from_spec(module_spec)
            sys.modules[name] = module
            module_spec.loader.exec_module(module)
            count_tables(module)
            return module
    raise RespectError(
        f"TensorFlow's TFLite schema ({_FILE}) was not found. respect_tf needs TensorFlow 2.16 to "
        "2.21: pip install 'tensorflow>=2.16,<2.22'."
    )


@functools.cache
def op_type_names() -> dict[int, str]:
    """Builtin operator code -> name, for example 3 -> `"CONV_2D"`."""
    return {code: name for name, code in _constants("BuiltinOperator").items()}


@functools.cache
def tensor_type_names() -> dict[int, str]:
    """Tensor type -> name in numpy's spelling, for example 9 -> `"int8"`."""
    return {code: name.lower() for name, code in _constants("TensorType").items()}


def dtype_bits(dtype: str) -> int | None:
    """Bits of one element, or None for types without a fixed size (strings, resources)."""
    if dtype == "bool":
        return 8
    number = re.search(r"\d+$", dtype)  # the schema names types by their bits: "uint4", "bfloat16"
    return int(number[0]) if number else None


def _constants(enum: str) -> dict[str, int]:
    members = vars(getattr(schema(), enum))
    return {name: value for name, value in members.items() if isinstance(value, int)}
