"""The policy: a graph neural network that proposes orders of ops."""

from respect_tf.policy._weights import Weights, load_weights, save_weights

__all__ = ["Weights", "load_weights", "save_weights"]
