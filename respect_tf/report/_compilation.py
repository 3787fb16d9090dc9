"""What the compiler said of the segments, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from respect_tf.compile import logged_figures, read_compiled
from respect_tf.report._text import format_bytes, table
from respect_tf.segmentation import Segment

_UNKNOWN = "?"


def compilation_table(segments: Sequence[Segment]) -> str:
    """Memory and ops of each segment, as the compiler's logs have them.

    Where a log is missing, what the compiled model itself says of parameters is shown.
    """
    columns = ["segment", "cached", "room left", "streamed", "ops on TPU", "ops on CPU"]
    return table(columns, [[segment.name, *_figures(segment)] for segment in segments])


def _figures(segment: Segment) -> list[str]:
    if segment.on_cpu:
        return ["runs on the CPU", *[""] * 4]
    if segment.compiled is None:
        return ["not compiled", *[""] * 4]
    log, model = logged_figures(segment), read_compiled(segment.compiled)
    if log is None or log.on_chip_used_bytes is None:
        cached = 0 if model is None else model.cached_bytes
        streamed = 0 if model is None else model.streamed_bytes
        on_cpu = _UNKNOWN if model is None else str(sum(model.cpu_ops.values()))
        return [format_bytes(cached), _UNKNOWN, format_bytes(streamed), _UNKNOWN, on_cpu]
    num_on_cpu = log.num_cpu_ops or 0
    return [
        format_bytes(log.on_chip_used_bytes),
        _UNKNOWN
        if log.on_chip_remaining_bytes is None
        else format_bytes(log.on_chip_remaining_bytes),
        _UNKNOWN if log.off_chip_bytes is None else format_bytes(log.off_chip_bytes),
        _UNKNOWN if log.num_ops is None else str(log.num_ops - num_on_cpu),
        str(num_on_cpu),
    ]
