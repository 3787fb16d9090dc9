"""Cutting a model into segments, the runner's rules, and the proof that nothing changed."""

from respect_tf.segmentation._cut import cut
from respect_tf.segmentation._part import part_of
from respect_tf.segmentation._rules import check_runner_rules
from respect_tf.segmentation._segment import Segment, TensorSpec
from respect_tf.segmentation._segment_model import schedule_of, segment
from respect_tf.segmentation._verify import NUM_INPUTS, ParityReport, random_inputs, verify

__all__ = [
    "NUM_INPUTS",
    "ParityReport",
    "Segment",
    "TensorSpec",
    "check_runner_rules",
    "cut",
    "part_of",
    "random_inputs",
    "schedule_of",
    "segment",
    "verify",
]
