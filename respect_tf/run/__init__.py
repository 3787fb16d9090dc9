"""Running a pipeline."""

from respect_tf.run._chain import SegmentChain
from respect_tf.run._quantize import dequantize, quantize

__all__ = ["SegmentChain", "dequantize", "quantize"]
