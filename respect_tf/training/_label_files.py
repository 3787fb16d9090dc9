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
from respect_tf.training._examples import example_of
from respect_tf.training._labels import TRAINING, UNPROVED, VALIDATION, Label, LabelTask

_PURPOSE = "labels"
STAGE = "stage"


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
    tasks = [label.task for label in labels]
    write_npz(
        Path(path),
        {
            "family": np.array([task.family for task in tasks]),
            "num_ops": np.array([task.num_ops for task in tasks], np.int32),
            "seed": np.array([task.seed for task in tasks], np.int64),
            "num_stages": np.array([task.num_stages for task in tasks], np.int32),
            "communication_weight": np.array([task.communication_weight for task in tasks]),
            "macs_per_byte": np.array([task.macs_per_byte for task in tasks]),
            "cost": np.array([label.cost for label in labels]),
            "lower_bound": np.array([label.lower_bound for label in labels]),
            "stages": np.concatenate([label.stages.astype(np.uint8) for label in labels]),
        },
    )


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
        macs_per_byte = columns.get("macs_per_byte", np.zeros(len(columns["family"])))
        offsets = np.concatenate([[0], np.cumsum(columns["num_ops"])])
        stages = columns["stages"].astype(np.int32)
        stages = stages[: int(offsets[-1])].reshape(offsets[-1])  # as many as there are ops
        for row in range(len(columns["family"])):
            task = LabelTask(
                str(columns["family"][row]),
                int(columns["num_ops"][row]),
                int(columns["seed"][row]),
                int(columns["num_stages"][row]),
                float(columns["communication_weight"][row]),
                float(macs_per_byte[row]),
            )
            yield Label(
                task,
                stages[offsets[row] : offsets[row + 1]],
                float(columns["cost"][row]),
                float(columns["lower_bound"][row]),
            )
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
    with (
        written(Path(path)) as partial,
        tf.io.TFRecordWriter(str(partial), "GZIP") as writer,
    ):
        for label in labels:
            features = example_of(label).view.features
            tensor = graph_tensor_of(features, label.task.num_stages, {STAGE: label.stages})
            # Else features come in another order in each process.
            writer.write(tfgnn.write_example(tensor).SerializeToString(deterministic=True))


def read_records(paths: Sequence[str | os.PathLike[str]]) -> Any:
    """A `tf.data.Dataset` of the scalar GraphTensors in files of `write_records`.

    Batch them with `.batch(n).map(lambda graphs: graphs.merge_batch_to_components())`.
    """
    import tensorflow as tf

    tfgnn = load_tfgnn()
    spec = graph_tensor_spec({STAGE: tf.int32}, single=True)
    records = tf.data.TFRecordDataset([os.fspath(path) for path in paths], "GZIP")
    return records.map(lambda record: tfgnn.parse_single_example(spec, record))
