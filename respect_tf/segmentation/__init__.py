"""Cutting a model into segments, the runner's rules, and the proof that nothing changed."""

from respect_tf.segmentation._copies import ops_of_file
from respect_tf.segmentation._cut import cut
from respect_tf.segmentation._interface import interface_of, named_specs
from respect_tf.segmentation._metadata import Interface, Metadata, TensorDescription
from respect_tf.segmentation._metadata_reader import read_metadata
from respect_tf.segmentation._part import part_of
from respect_tf.segmentation._quantize import dequantize, quantize
from respect_tf.segmentation._rules import check_runner_rules
from respect_tf.segmentation._segment import Segment, TensorSpec
from respect_tf.segmentation._segment_model import schedule_of, segment
from respect_tf.segmentation._stored_arrays import (
    Array,
    Inputs,
    split_samples,
    stack_results,
    stored,
)
from respect_tf.segmentation._unknown_ops import unknown_ops
from respect_tf.segmentation._verify import NUM_INPUTS, ParityReport, random_inputs, verify

__all__ = [
    "NUM_INPUTS",
    "Array",
    "Inputs",
    "Interface",
    "Metadata",
    "ParityReport",
    "Segment",
    "TensorDescription",
    "TensorSpec",
    "check_runner_rules",
    "cut",
    "dequantize",
    "interface_of",
    "named_specs",
    "ops_of_file",
    "part_of",
    "quantize",
    "random_inputs",
    "read_metadata",
    "schedule_of",
    "segment",
    "split_samples",
    "stack_results",
    "stored",
    "unknown_ops",
    "verify",
]
