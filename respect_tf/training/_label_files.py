"""Files of labels, and labels as TFRecords of GraphTensors for networks of one's own in TF-GNN."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf._errors import PolicyFileError
from respect_tf._npz import damaged, read_npz, write_npz, written
from respect_tf.graph import graph_tensor_of, graph_tensor_spec, load_tfgnn
from respect_tf.training._labels import TRAINING, UNPROVED, VALIDATION, Label, LabelTask, example_of

_PURPOSE = "labels"
_STAGE = "stage"  # the feature of ops in records

# Columns: what a `LabelTask` has, in its order, what a `Label` has besides, and the stages of all.
_TASK = {
    "family": np.str_,
    "num_ops": np.int32,
    "seed": np.int64,
    "num_stages": np.int32,
    "communication_weight": np.float64,
    "macs_per_byte": np.float64,
}
_FOUND = ("cost", "lower_bound")
_STAGES = "stages"


def label_files(folder: str | os.PathLike[str], seed: int) -> list[Path]:
    """The files in a folder that hold labels of one sequence, in order.

    Raises:
        PolicyFileError: There is none.
    """
    paths = sorted(Path(folder).glob(f"labels-{seed}-*.npz"))
    if not paths:
        raise PolicyFileError(
            f"There are no labels-{seed}-*.npz in {Path(folder)}. Expected the folder that "
            "'respect-tf labels FOLDER' or run_labels has filled."
        )
    return paths


def save_labels(path: str | os.PathLike[str], labels: Sequence[Label]) -> None:
    """Write labels into one file, some 40 bytes each: graphs are made anew from their seeds."""
    columns = {
        name: np.array([getattr(label.task, name) for label in labels], dtype)
        for name, dtype in _TASK.items()
    }
    for name in _FOUND:
        columns[name] = np.array([getattr(label, name) for label in labels])
    columns[_STAGES] = np.concatenate([label.stages.astype(np.uint8) for label in labels])
    write_npz(Path(path), columns)


def load_all_labels(folder: str | os.PathLike[str]) -> tuple[list[Label], list[Label]]:
    """The labels in a folder: for training, those without proofs among them, and for validation.

    Raises:
        PolicyFileError: There are none, or a file is damaged.
    """
    paths = label_files(folder, TRAINING)
    if list(Path(folder).glob(f"labels-{UNPROVED}-*.npz")):
        paths += label_files(folder, UNPROVED)
    return load_labels(paths), load_labels(label_files(folder, VALIDATION))


def load_labels(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Label]:
    """Read files of labels.

    Raises:
        PolicyFileError: A file is damaged.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [label for path in paths for label in _read_labels(Path(path))]


def _read_labels(path: Path) -> Iterator[Label]:
    columns = read_npz(path, _PURPOSE)
    try:
        columns.setdefault("macs_per_byte", np.zeros(len(columns["family"])))  # before 0.2.0
        values = (columns[name].astype(dtype, casting="safe") for name, dtype in _TASK.items())
        tasks = [LabelTask(*row) for row in zip(*(map(np.ndarray.tolist, values)), strict=True)]
        ends = np.cumsum([task.num_ops for task in tasks])[:-1]
        stages = np.split(columns[_STAGES].astype(np.int32), ends)
        found = (columns[name].astype(float).tolist() for name in _FOUND)
        for task, part, cost, low in zip(tasks, stages, *found, strict=True):
            yield Label(task, part.reshape(task.num_ops), cost, low)
    except (ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:
        raise damaged(path, _PURPOSE, f"{type(error).__name__}: {error}") from error


def write_records(path: str | os.PathLike[str], labels: Sequence[Label]) -> None:
    """Write labels into one compressed TFRecord file, a `GraphTensor` each.

    What `OpGraph.to_graph_tensor` gives for the label's objective, with one more feature of ops,
    `"stage"`, int32 [num_ops]. Read them with `read_records`.

    Raises:
        PolicyFileError: The file cannot be written.
    """
    import tensorflow as tf

    tfgnn = load_tfgnn()
    with written(Path(path)) as file, tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for label in labels:
            features = example_of(label).view.features
            tensor = graph_tensor_of(features, label.task.num_stages, {_STAGE: label.stages})
            # Else features come in another order in each process.
            writer.write(tfgnn.write_example(tensor).SerializeToString(deterministic=True))


def read_records(paths: Sequence[str | os.PathLike[str]]) -> Any:
    """A `tf.data.Dataset` of the scalar GraphTensors in files of `write_records`.

    Batch them with `.batch(n).map(lambda graphs: graphs.merge_batch_to_components())`.
    """
    import tensorflow as tf

    tfgnn = load_tfgnn()
    spec = graph_tensor_spec({_STAGE: tf.int32}, single=True)
    records = tf.data.TFRecordDataset([os.fspath(path) for path in paths], "GZIP")
    return records.map(lambda record: tfgnn.parse_single_example(spec, record))
