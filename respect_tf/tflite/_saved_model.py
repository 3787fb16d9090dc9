"""SavedModel folders: their graphs are read and checked before TensorFlow loads them.

A SavedModel holds no Python, but its graphs can hold ops that read and write files, call Python
functions of this process or end it. TensorFlow runs some graphs while loading and others when the
model is converted, so all of them are checked, but for those that only save and restore. Whether
what runs while loading comes to an end cannot be read off a graph: it is loaded in a worker first.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from respect_tf._errors import InvalidModelError, UnsupportedModelError
from respect_tf.tflite._graph_ops import SAVER_OPS, node_computes
from respect_tf.tflite._trust import Trust
from respect_tf.tflite._worker_model import call_in_worker

_BINARY, _TEXT = "saved_model.pb", "saved_model.pbtxt"
# Folders with weights and tables; the rest of a SavedModel is not needed to load it.
_DATA = ("variables", "assets", "assets.extra")
# The format's own limit.
_MAX_BYTES = 2**31 - 1
# To import TensorFlow (3 s here, a minute from a cold network disk) and load a model (VGG16: 2 s).
_LOAD_SECONDS = 120.0


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (path / _BINARY).is_file() or (path / _TEXT).is_file()


def check_saved_model(path: str | os.PathLike[str]) -> None:
    """Refuse a SavedModel whose graphs do more than compute. A folder that is none passes.

    Raises:
        InvalidModelError: It is damaged.
        UnsupportedModelError: An op does more than compute.
        InterpreterError: No process can be started to load it in.
    """
    folder = Path(path)
    if is_saved_model(folder):
        _check(_read(folder), folder)
        _load_in_worker(folder, folder)


@contextlib.contextmanager
def checked_saved_model(path: Path, trust: Trust) -> Iterator[Path]:
    """A folder with the same model, whose graphs were checked and stay as they are.

    Args:
        path: The user's folder.
        trust: Whether its graphs may do more than compute.

    Raises:
        InvalidModelError: It is damaged.
        UnsupportedModelError: An op does more than compute, and the model is not trusted.
    """
    if trust.trusted:
        yield path
        return
    model = _read(path)
    _check(model, path)
    try:
        folder = tempfile.TemporaryDirectory(prefix="respect_tf_model_")
    except OSError as error:
        raise InvalidModelError(
            f"'{path}' cannot be copied before it is loaded: there is no temporary folder "
            f"({error}). Set TMPDIR to a folder with room."
        ) from error
    with folder as name:
        copy = Path(name)
        try:
            (copy / _BINARY).write_bytes(model.SerializeToString())
            for part in _DATA:
                if (path / part).is_dir():
                    _check_files(path / part)
                    (copy / part).symlink_to((path / part).resolve(), target_is_directory=True)
        except OSError as error:
            raise InvalidModelError(
                f"'{path}' could not be copied to '{copy}': {error}. Make room there, or set "
                "TMPDIR to a folder with room."
            ) from error
        _load_in_worker(copy, path)
        yield copy


def _load_in_worker(folder: Path, shown: Path) -> None:
    """Load a SavedModel where a graph that never ends, or a crash, does no harm.

    Args:
        folder: The folder to load.
        shown: The user's folder, for messages.
    """
    call_in_worker(
        "load_saved_model",
        str(folder.absolute()),
        str(shown),
        timeout=_LOAD_SECONDS,
        label=f"The SavedModel '{shown}'",
        num_bytes=sum(file.stat().st_size for file in shown.rglob("*") if file.is_file()),
    )


def _check_files(folder: Path) -> None:
    """Refuse what TensorFlow would wait for without end."""
    for file in folder.rglob("*"):
        if not (file.is_file() or file.is_dir()):
            raise InvalidModelError(
                f"'{file}' is no regular file, so its folder is no SavedModel's. Export it again."
            )


def _read(path: Path) -> Any:
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    given = path / _BINARY if (path / _BINARY).is_file() else path / _TEXT
    try:
        if given.stat().st_size > _MAX_BYTES:
            raise InvalidModelError(f"'{given}' is larger than the 2 GiB that the format allows.")
        if given.name == _BINARY:
            model.ParseFromString(given.read_bytes())
        else:
            text_format.Parse(given.read_text("utf-8"), model)
    except (OSError, ValueError, RecursionError, message.DecodeError) as error:
        raise InvalidModelError(
            f"TensorFlow cannot load the SavedModel '{path}': {type(error).__name__}: "
            f"{str(error)[:200]}. It is damaged: make or load it again."
        ) from error
    if not model.meta_graphs:
        raise InvalidModelError(
            f"TensorFlow cannot load the SavedModel '{path}': it holds no graphs. It is damaged: "
            "make or load it again."
        )
    return model


def _check(model: Any, path: Path) -> None:
    for graph in model.meta_graphs:
        library = {item.signature.name: item for item in graph.graph_def.library.function}
        bodies = {"": graph.graph_def.node}
        bodies.update((name, item.node_def) for name, item in library.items())
        savers = _savers(graph, bodies)
        for name, nodes in bodies.items():
            for node in nodes:
                saves = node.op in SAVER_OPS and (name, node.name if name == "" else "") in savers
                if saves or node.op in library or node_computes(node):
                    continue
                where = f"the function '{name}'" if name else "its graph"
                raise UnsupportedModelError(
                    f"The SavedModel '{path}' is not loaded: {where} holds the op {node.op!r:.100} "
                    f"({node.name!r:.100}), which may read, write or run more than the model.\n"
                    "Export the model without it, or pass trusted=True if the model may do that."
                )


def _savers(graph: Any, bodies: dict[str, Any]) -> set[tuple[str, str]]:
    """What only saves and restores: nodes of the graph, and functions that nothing else calls.

    Returns:
        ("", name of a node) and (name of a function, "").
    """
    saver = graph.saver_def
    nodes = {node.name: node for node in bodies[""]}
    starts = (saver.save_tensor_name, saver.restore_op_name, saver.filename_tensor_name)
    waiting = [start.partition(":")[0] for start in starts if start]
    parts: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in parts and name in nodes:
            parts.add(name)
            waiting.extend(_source(given) for given in nodes[name].input)
    called = {function for name in parts for function in _called(nodes[name])}
    elsewhere = set(graph.object_graph_def.concrete_functions)
    # Everything that is run besides: signatures, tables' initialisers, other functions.
    for name, body in bodies.items():
        for node in body:
            if name != "" or node.name not in parts:
                elsewhere.update(_called(node))
    run = {
        _source(info.name)
        for signature in graph.signature_def.values()
        for info in signature.outputs.values()
    }
    if run & parts:  # a signature that saves
        return set()
    return {("", name) for name in parts} | {(name, "") for name in called - elsewhere}


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _source(tensor: str) -> str:
    """The node that makes a tensor, or that a control input names."""
    return tensor.removeprefix("^").partition(":")[0]
