"""TF-GNN works, and `tf.keras` stays what it was, in every order of imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ORDERS = {
    "respect_tf first": "",
    "both Keras packages used first": """
import tensorflow as tf
tf.keras.Sequential([tf.keras.layers.Dense(1)]).build((None, 2))
import tf_keras
tf_keras.Sequential([tf_keras.layers.Dense(1)]).build((None, 2))
""",
    "after an import that failed": """
try:
    import tensorflow_gnn
except ImportError:
    pass
else:
    raise AssertionError("TF-GNN refuses Keras 3: is this module needed any longer?")
""",
    "Keras 2 chosen by the user": """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow_gnn as of_the_user
""",
}

_USE = """
from respect_tf.graph._tfgnn import load_tf_keras, load_tfgnn
tfgnn, tf_keras = load_tfgnn(), load_tf_keras()
import os
import numpy as np
import tensorflow as tf
import tensorflow_gnn
assert tensorflow_gnn is tfgnn is load_tfgnn()
if "of_the_user" in globals():
    assert of_the_user is tfgnn
package = tf.keras.layers.Dense.__module__.partition(".")[0]
assert package == ("tf_keras" if os.environ.get("TF_USE_LEGACY_KERAS") else "keras"), package

graph = tfgnn.GraphTensor.from_pieces(
    node_sets={"op": tfgnn.NodeSet.from_fields(
        sizes=[3], features={"hidden_state": np.ones((3, 2), np.float32)})},
    edge_sets={"feeds": tfgnn.EdgeSet.from_fields(
        sizes=[2], adjacency=tfgnn.Adjacency.from_indices(("op", [0, 1]), ("op", [1, 2])))})
given = tf_keras.layers.Input(type_spec=graph.spec)
update = tfgnn.keras.layers.GraphUpdate(node_sets={"op": tfgnn.keras.layers.NodeSetUpdate(
    {"feeds": tfgnn.keras.layers.SimpleConv(tf_keras.layers.Dense(4), "sum")},
    tfgnn.keras.layers.NextStateFromConcat(tf_keras.layers.Dense(1)))})
network = tf_keras.Model(given, update(given).node_sets["op"]["hidden_state"])
assert network(graph).shape == (3, 1)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(network(graph))
assert all(g is not None for g in tape.gradient(loss, network.trainable_weights))

mine = tf.keras.Sequential([tf.keras.layers.Dense(1)])
assert mine(np.ones((4, 2), np.float32)).shape == (4, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", _ORDERS.values(), ids=_ORDERS.keys())
def test_tf_keras_stays_what_it_was(before: str) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    done = subprocess.run(
        [sys.executable, "-c", before + _USE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_without_tf_gnn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from respect_tf._errors import DependencyError
    from respect_tf.graph import _tfgnn

    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow_gnn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(_tfgnn, "_PACKAGE", "tensorflow_gnn_that_is_missing")
    with pytest.raises(DependencyError, match="pip install"):
        _tfgnn.load_tfgnn()
