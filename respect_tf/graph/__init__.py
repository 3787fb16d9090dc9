"""The op graph of a model, as numpy arrays, and what a network sees of it."""

from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph._features import (
    GRAPH_FEATURES,
    OP_FEATURES,
    GraphFeatures,
    graph_features,
)
from respect_tf.graph._from_tflite import op_graph_of
from respect_tf.graph._graph_tensor import (
    BACKWARD,
    FEATURE,
    FORWARD,
    NUM_STAGES,
    OP_SET,
    graph_tensor_of,
    graph_tensor_spec,
    merged_graph_tensor,
    schema_text,
)
from respect_tf.graph._masses import masses_after, masses_before
from respect_tf.graph._op_graph import OpGraph, Quantization
from respect_tf.graph._quick_cuts import quick_cuts
from respect_tf.graph._receptive_field import ReceptiveField, receptive_field
from respect_tf.graph._resized import picture_size, resized
from respect_tf.graph._structural import (
    ORDERS,
    Floats,
    Ints,
    Links,
    Rows,
    links_of,
    ready_orders,
    rows_of,
    structural_orders,
)
from respect_tf.graph._sub_graph import sub_graph
from respect_tf.graph._tfgnn import load_tf_keras, load_tfgnn

__all__ = [
    "BACKWARD",
    "FEATURE",
    "FORWARD",
    "GRAPH_FEATURES",
    "NUM_STAGES",
    "OP_FEATURES",
    "OP_SET",
    "ORDERS",
    "Floats",
    "GraphFeatures",
    "Ints",
    "Links",
    "OpAttributes",
    "OpGraph",
    "Quantization",
    "ReceptiveField",
    "Rows",
    "graph_features",
    "graph_tensor_of",
    "graph_tensor_spec",
    "links_of",
    "load_tf_keras",
    "load_tfgnn",
    "masses_after",
    "masses_before",
    "merged_graph_tensor",
    "op_graph_of",
    "picture_size",
    "quick_cuts",
    "ready_orders",
    "receptive_field",
    "resized",
    "rows_of",
    "schema_text",
    "structural_orders",
    "sub_graph",
]
