"""Labels as TFRecords of GraphTensors, for whoever trains a network of their own in TF-GNN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respect_tf.graph import graph_tensor_of, graph_tensor_spec, load_tfgnn
from respect_tf.policy import written
from respect_tf.training._examples import example_of
from respect_tf.training._labels import Label

STAGE = "stage"


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
