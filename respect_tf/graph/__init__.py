"""The op graph of a model, as numpy arrays."""

from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph._from_tflite import op_graph_of
from respect_tf.graph._op_graph import OpGraph, Quantization
from respect_tf.graph._sub_graph import sub_graph

__all__ = [
    "OpAttributes",
    "OpGraph",
    "Quantization",
    "op_graph_of",
    "sub_graph",
]
