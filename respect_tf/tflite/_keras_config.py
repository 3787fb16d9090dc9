"""The configuration in a Keras file, read as data and checked against what Keras is made of.

A configuration is JSON in which every object is a dict with a `class_name`. The loaders of both
packages turn these into Python objects, and tf_keras imports whatever module they name. Here
nothing is made and nothing imported: each name is looked up in the `Catalogue` of a package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from respect_tf._errors import InvalidModelError
from respect_tf.tflite._graph_ops import computes, symbol_computes
from respect_tf.tflite._keras_catalogue import LAMBDA, REFUSED, Catalogue
from respect_tf.tflite._keras_graph import check_connections

# Keras's applications have 10 or 11 levels, and a model inside another adds 3; of both packages and
# formats, twenty models in each other (67 levels) were read. Keras itself needs several Python
# frames a level, of the thousand that there are.
_MAX_DEPTH = 100
# EfficientNetV2L, the largest of Keras's applications, has 59,307; a vocabulary one per word.
_MAX_NODES = 5_000_000

# What both packages make of data alone: tensors, tuples, shapes.
_PLAIN = frozenset(
    {
        *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"),
        *("__tuple__", "TensorShape", "TypeSpec", "CompositeTensor"),
    }
)
_LAMBDA_CODE = ("function", "output_shape", "mask")
_OP_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda"})
# Arguments of Keras's own classes that name files, or hold code.
_FILE_ARGUMENTS = frozenset(
    {
        *("vocabulary", "initial_vocabulary", "filepath", "file_path", "path", "filename", "fname"),
        *("origin", "url", "directory", "data_dir", "cache_dir", "preset", "handle"),
    }
)
_CODE_ARGUMENTS = frozenset({"call_fn", "init_fn"})


def parse_config(content: bytes, *, label: str) -> dict[str, Any]:
    """JSON text as data.

    Raises:
        InvalidModelError: It is no JSON object, deeper or larger than any model needs, or its
            layers wait for each other.
    """
    try:
        config = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise _too_deep(label) from None
    except ValueError as error:
        raise InvalidModelError(
            f"The configuration in '{label}' is no JSON text: {str(error)[:200]}. The file is "
            "damaged: make or load it again."
        ) from error
    if not isinstance(config, dict):
        raise InvalidModelError(
            f"The configuration in '{label}' is a {type(config).__name__}, expected an object with "
            "'class_name' and 'config'. The file is damaged: make or load it again."
        )
    for count, (node, depth) in enumerate(_nodes(config)):
        if isinstance(node, dict):
            check_connections(node, label=label)
        if depth > _MAX_DEPTH:
            raise _too_deep(label)
        if count > _MAX_NODES:
            raise InvalidModelError(
                f"The configuration in '{label}' has more than {_MAX_NODES:,} values. Expected "
                "fewer: no model that fits an Edge TPU has that many."
            )
    return config


def refusal(config: Mapping[str, Any], catalogue: Catalogue, *, is_hdf5: bool) -> str | None:
    """Why a package must not load a configuration, as a sentence; None if it may.

    Args:
        config: The model's, see `parse_config`.
        catalogue: Of the package that would load it.
        is_hdf5: Whether it lies in an HDF5 file, where tf_keras goes by class names alone.
    """
    replaced: set[int] = set()
    for node, _ in _nodes(config):
        if not (isinstance(node, dict) and "class_name" in node) or id(node) in replaced:
            continue
        found = _object_refusal(node, catalogue, is_hdf5=is_hdf5)
        if found is not None:
            return found
        inner = node.get("config")
        if isinstance(inner, dict) and _is_replaced_lambda(node, catalogue, is_hdf5=is_hdf5):
            # A class of the user's own gets the code as it is, and no loader touches it.
            replaced.update(id(inner.get(part)) for part in _LAMBDA_CODE)
    return None


def _is_replaced_lambda(node: dict[str, Any], catalogue: Catalogue, *, is_hdf5: bool) -> bool:
    """Whether every loader takes a class of the user's own for a Lambda."""
    if node["class_name"] != LAMBDA or not catalogue.handed_over(LAMBDA):
        return False
    by_class_name = is_hdf5 and catalogue.package == "tf_keras"
    return by_class_name or catalogue.handed_over(node.get("registered_name", LAMBDA))


def adapted(
    config: dict[str, Any], custom_objects: Mapping[str, Any], *, is_hdf5: bool
) -> dict[str, Any]:
    """Let a user's own classes be found by their plain names.

    Keras looks them up by `registered_name`, which has a package before the name, and is empty for
    its own classes.

    Args:
        config: See `parse_config`; empty names are filled in, in place, where loaders will get
            this configuration.
        custom_objects: What the user passed.
        is_hdf5: Whether they will get the file's own instead.

    Returns:
        The objects, by all names that the configuration has for them.
    """
    objects = dict(custom_objects)
    for node, _ in _nodes(config):
        if not (isinstance(node, dict) and isinstance(node.get("class_name"), str)):
            continue
        name = node["class_name"]
        if name == "function" and isinstance(node.get("config"), str):
            name = node["config"]
        plain = name.rpartition(">")[2]
        if plain in custom_objects:
            objects.setdefault(name, custom_objects[plain])
            registered = node.get("registered_name")
            if isinstance(registered, str):
                objects.setdefault(registered, custom_objects[plain])
            elif "registered_name" in node and not is_hdf5:
                node["registered_name"] = name
    return objects


def _object_refusal(node: dict[str, Any], catalogue: Catalogue, *, is_hdf5: bool) -> str | None:
    name, module = node["class_name"], node.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return f"It names a class by {name!r:.60} in the module {module!r:.60}, which is no text."
    if name in _PLAIN:
        # Each of them is data to some of the loaders only. The others would import the module.
        return None if module is None else _unknown_text(name, module, {})
    if name == "__lambda__":
        return "It holds a Lambda with Python code of its own."
    if name == "__typespec__":
        return f"It names the type {node.get('spec_name')!r:.60} in {module!r:.60}."
    if name == "function":
        return _function_refusal(node, catalogue)
    config = node.get("config")
    config = config if isinstance(config, dict) else {}
    what = _layer_text(name, config)
    # Without this key loaders go by class_name, so this is what they look up first.
    key = node.get("registered_name", name)
    by_key = catalogue.handed_over(key)
    by_name = catalogue.handed_over(name)
    if by_key and by_name:
        return None
    # In HDF5 files tf_keras reads class names alone.
    by_class_name = module is None or (is_hdf5 and catalogue.package == "tf_keras")
    found = catalogue.find_class(module, name) if module is not None else None
    kinds = {name} if found is None else {name, *(base.__name__ for base in found.__mro__)}
    if LAMBDA in kinds:
        replaced = _is_replaced_lambda(node, catalogue, is_hdf5=is_hdf5)
        return None if replaced else _lambda_refusal(config, catalogue, what)
    if kinds & REFUSED:
        kind = min(kinds & REFUSED)
        return f"{what} is of the kind {kind}, which runs code or reads files of its own."
    if by_name and by_class_name:
        return None
    if by_key and not catalogue.is_builtin(name):
        return None
    # Some loaders go by registered_name and some by class_name, so what Keras has under the latter
    # is checked even if the former was handed over.
    if found is None and not by_key:
        keras_own = module is None or module.split(".", 1)[0] in ("keras", "tf_keras")
        if not (by_class_name and keras_own and catalogue.is_builtin(name)):
            return _unknown_text(name, module, config)
    return _argument_refusal(kinds, config, what, catalogue)


def _function_refusal(node: dict[str, Any], catalogue: Catalogue) -> str | None:
    name, module = node.get("config"), node.get("module")
    if isinstance(name, str) and catalogue.handed_over(name):
        return None
    known = (
        isinstance(name, str)
        and isinstance(module, str | None)
        and catalogue.find_function(module, name)
    )
    if known:
        return None
    return f"It needs the function {name!r:.100} of the module {module!r:.100}."


def _lambda_refusal(config: dict[str, Any], catalogue: Catalogue, what: str) -> str | None:
    """A Lambda passes if its functions were handed over by name."""
    refused = f"{what} is a Lambda, which runs Python code out of the file."
    value = config.get("function")
    # Dicts are objects, which are checked by themselves; lists are marshalled code.
    named = isinstance(value, dict) and value.get("class_name") == "function"
    if not named and not (isinstance(value, str) and catalogue.handed_over(value)):
        return refused
    return None if _code_argument(config, catalogue) is None else refused


def _code_argument(config: dict[str, Any], catalogue: Catalogue) -> str | None:
    """The argument that holds a function of the file's own, by the older way to write them.

    Lambda, and tf_keras's wrappers of recurrent cells, have a `NAME_type` beside such arguments.
    """
    for key, kind in config.items():
        name = key.removesuffix("_type")
        if name == key or name not in config:
            continue
        value = config[name]
        handed_over = isinstance(value, str) and catalogue.handed_over(value)
        if kind == "lambda" or (kind == "function" and not handed_over):
            return name
    return None


def _argument_refusal(
    kinds: set[str], config: dict[str, Any], what: str, catalogue: Catalogue
) -> str | None:
    """Whether an object that Keras knows is told to read a file, or to call something."""
    if kinds & _OP_LAYERS:
        symbol = config.get("function")
        if not isinstance(symbol, str) or not symbol_computes(symbol):
            return f"{what} calls 'tf.{symbol!s:.100}', which may do more than compute."
    if "TensorFlowOpLayer" in kinds:
        op_type = _op_of_node(config.get("node_def"))
        if op_type is None or not computes(op_type):
            return f"{what} runs the op {op_type!r:.100}, which may do more than compute."
    code = _code_argument(config, catalogue)
    if code is not None:
        return f"{what} runs Python code out of the file, its argument '{code}'."
    for argument, value in config.items():
        if argument in _CODE_ARGUMENTS:
            return f"{what} takes code as its argument '{argument}'."
        if argument in _FILE_ARGUMENTS and isinstance(value, str):
            return f"{what} reads the file {value!r:.100} ('{argument}')."
    return None


def _op_of_node(node_def: object) -> str | None:
    """The op of a serialised `NodeDef`, in either of the forms that tf_keras reads."""
    from google.protobuf import json_format, message
    from tensorflow.core.framework import node_def_pb2

    node = node_def_pb2.NodeDef()
    try:
        if isinstance(node_def, dict):
            json_format.ParseDict(node_def, node)
        elif isinstance(node_def, str):
            node.ParseFromString(node_def.encode("utf-8"))
    except (json_format.ParseError, message.DecodeError, UnicodeError, RecursionError):
        return None
    return str(node.op)


def _layer_text(name: str, config: dict[str, Any]) -> str:
    given = config.get("name")
    if not isinstance(given, str):
        return f"{name!r:.100}"
    return f"The layer {given!r:.100} ({name!r:.100})"


def _unknown_text(name: str, module: str | None, config: dict[str, Any]) -> str:
    where = "" if module is None else f" of the module {module!r:.100}"
    layer = config.get("name")
    used = f" (layer {layer!r:.100})" if isinstance(layer, str) else ""
    return f"It needs the class {name!r:.100}{where}{used}, which is not Keras's own."


def _too_deep(label: str) -> InvalidModelError:
    return InvalidModelError(
        f"The configuration in '{label}' is nested more than {_MAX_DEPTH} levels deep. Expected "
        "fewer: put models into each other less often."
    )


def _nodes(config: Any) -> Iterator[tuple[Any, int]]:
    """Every value inside, and how deep it lies, outer ones first and in the file's order."""
    waiting = [(config, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, dict):
            waiting.extend((value, depth + 1) for value in reversed(node.values()))
        elif isinstance(node, list):
            waiting.extend((value, depth + 1) for value in reversed(node))
