"""Running a pipeline."""

from respect_tf.run._chain import SegmentChain
from respect_tf.run._measure import measure_on_cpu
from respect_tf.run._quantize import dequantize, quantize

__all__ = ["SegmentChain", "dequantize", "measure_on_cpu", "quantize"]
