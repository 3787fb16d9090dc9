"""The op graph of a Keras model before it is converted."""

from respect_tf.graph.lowering._lower import UnknownLayerError, lower

__all__ = ["UnknownLayerError", "lower"]
