"""Functions that open files which a library may hang on or crash at, and run in a worker for that.

The list below is all that a worker calls. Arguments and values are what JSON can say, arrays are
plain numbers; both are read as data on either side.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InvalidModelError, RespectError
from respect_tf.tflite._hdf5 import check_hdf5

Result = tuple[Any, dict[str, npt.NDArray[Any]]]
"""What such a function returns: a value that JSON can say, and arrays of numbers by name."""

# Name -> where it is. Imported only in the worker, so that a list of them costs nothing.
FUNCTIONS = {
    "load_saved_model": "respect_tf.tflite._worker_functions:load_saved_model",
    "read_hdf5": "respect_tf.tflite._worker_functions:read_hdf5",
}

NEED_TENSORFLOW = ("load_saved_model",)
"""Those whose workers are forked from a process that has imported TensorFlow."""

_ROWS_BYTES = 2**24  # of a dataset that are read at once


def function_named(name: str) -> Callable[..., Result]:
    """One of `FUNCTIONS`.

    Raises:
        RespectError: There is no such name on the list.
    """
    if name not in FUNCTIONS:
        raise RespectError(
            f"A worker calls no function {name!r}. Expected one of {', '.join(FUNCTIONS)}."
        )
    module, _, function = FUNCTIONS[name].partition(":")
    found: Callable[..., Result] = getattr(importlib.import_module(module), function)
    return found


def read_hdf5(path: str, label: str) -> Result:
    """Check an HDF5 file, and read all of it once, to see whether the library gets through it.

    HDF5 goes on for ever on some damaged files, and does not even listen to Ctrl-C then.

    Args:
        path: The file, from the root of the file system on.
        label: How messages name it.

    Returns:
        How many groups, datasets and attributes it has, and no arrays.

    Raises:
        InvalidModelError: HDF5 refuses the file or something in it, or it breaks a rule of
            `check_hdf5`.
    """
    import h5py

    check_hdf5(Path(path), label=label)

    counts = {"groups": 0, "datasets": 0, "attributes": 0}

    def visit(_: str, item: Any) -> None:
        counts["groups" if isinstance(item, h5py.Group) else "datasets"] += 1
        for name in item.attrs:
            counts["attributes"] += 1
            item.attrs[name]
        if isinstance(item, h5py.Dataset):
            _read_dataset(item)

    try:
        with h5py.File(path, "r") as file:
            visit("/", file)
            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InvalidModelError(
            f"HDF5 cannot read '{label}': {error}. The file is damaged: copy it again, or save the "
            "model again."
        ) from error
    return counts, {}


def load_saved_model(folder: str, label: str) -> Result:
    """Load a SavedModel as TensorFlow does, to see whether that comes to an end.

    TensorFlow runs graphs while it loads: initialisers, and those that restore variables.

    Args:
        folder: The folder, from the root of the file system on.
        label: How messages name it.

    Returns:
        The names of its signatures, and no arrays.

    Raises:
        InvalidModelError: TensorFlow refuses it.
    """
    import tensorflow as tf

    from respect_tf.tflite._source import gist

    tf.config.threading.set_intra_op_parallelism_threads(1)  # each thread has a stack of megabytes
    tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        return sorted(tf.saved_model.load(folder).signatures), {}
    except MemoryError:
        raise
    except Exception as error:
        raise InvalidModelError(
            f"TensorFlow cannot load the SavedModel '{label}': {gist(error)}"
        ) from error


def _read_dataset(dataset: Any) -> None:
    """Read a dataset piece by piece, so that memory stays small whatever it claims to hold."""
    if dataset.shape is None:
        return
    if not dataset.shape:
        dataset[()]
        return
    row = int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize
    rows = max(1, _ROWS_BYTES // max(1, row))
    for start in range(0, dataset.shape[0], rows):
        dataset[start : start + rows]
