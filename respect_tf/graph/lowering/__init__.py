"""The op graph of a Keras model before it is converted."""

from respect_tf.graph.lowering._lower import lower
from respect_tf.graph.lowering._walk import UnknownLayerError

__all__ = ["UnknownLayerError", "lower"]
