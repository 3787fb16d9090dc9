"""Rewriting ops that an Edge TPU does not run into equal forms that it runs."""

from respect_tf.tflite.rewrites._apply import (
    APPROXIMATE,
    REWRITE_MODES,
    RULES,
    Rewriting,
    rewrite,
)
from respect_tf.tflite.rewrites._proof import MOST_SAMPLES, is_equal, largest_difference
from respect_tf.tflite.rewrites._rule import RewriteMode, Rewritten, Rule, describe_rewritten

__all__ = [
    "APPROXIMATE",
    "MOST_SAMPLES",
    "REWRITE_MODES",
    "RULES",
    "RewriteMode",
    "Rewriting",
    "Rewritten",
    "Rule",
    "describe_rewritten",
    "is_equal",
    "largest_difference",
    "rewrite",
]
