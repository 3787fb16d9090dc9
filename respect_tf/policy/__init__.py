"""The policy: a graph neural network that proposes orders of ops."""

from respect_tf.policy._forward import Network, head_inputs, layer_sizes, ranks_of, trunk
from respect_tf.policy._propose import (
    MOST_ORDERS,
    GraphView,
    head_orders,
    proposals,
    propose,
    view_of,
)
from respect_tf.policy._refine import refined_orders
from respect_tf.policy._weights import Arrays, Weights, load_weights, rounded_weights, save_weights

__all__ = [
    "MOST_ORDERS",
    "Arrays",
    "GraphView",
    "Network",
    "Weights",
    "head_inputs",
    "head_orders",
    "layer_sizes",
    "load_weights",
    "proposals",
    "propose",
    "ranks_of",
    "refined_orders",
    "rounded_weights",
    "save_weights",
    "trunk",
    "view_of",
]
