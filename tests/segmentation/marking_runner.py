"""Coral's pipeline runner as far as CPU kernels see it: borders of segments are marked constant.

Runs segments op by op with TFLite's own kernels, and does what those kernels do with a tensor that
is marked: a DEQUANTIZE fills its output at the first inference only, a CONCATENATION takes its
output for done, a BATCH_MATMUL keeps its right operand. What nobody writes is zero here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.graph import op_graph_of
from respect_tf.segmentation import Segment, part_of
from respect_tf.tflite import Interpreter, mark_made_here, read_model


class _MarkedSegment:
    def __init__(self, content: bytes) -> None:
        model = read_model(content)
        self.graph = graph = op_graph_of(model)
        self._borders = {*graph.model_inputs.tolist(), *graph.model_outputs.tolist()}
        self._leaving = set(graph.model_outputs.tolist())
        self._kept: dict[int, Any] = {}
        self._ops = []
        for op in range(graph.num_ops):
            part = part_of(model, graph, [op])
            mark_made_here(part)  # a process for each op would take its time
            self._ops.append(Interpreter(part))

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        graph = self.graph
        values = dict(zip(graph.model_inputs.tolist(), inputs, strict=True))
        for op, interpreter in enumerate(self._ops):
            kind, read = graph.op_types[op], graph.inputs_of(op).tolist()
            given = {t: values[t] for t in read if not graph.is_constant[t]}
            if kind == "BATCH_MATMUL" and read[1] in self._borders:
                given[read[1]] = self._kept.setdefault(op, given[read[1]])
            made = interpreter.run([given[tensor] for tensor in sorted(given)])
            if kind == "DEQUANTIZE" and read[0] in self._borders:
                made = self._kept.setdefault(op, made)
            for tensor, value in zip(sorted(graph.outputs_of(op).tolist()), made, strict=True):
                values[tensor] = value
                is_done = kind == "CONCATENATION" or (kind == "DEQUANTIZE" and not given)
                if is_done and tensor in self._leaving:
                    first = kind == "DEQUANTIZE" and op not in self._kept
                    self._kept[op] = None
                    values[tensor] = value if first else np.zeros_like(value)
        return [values[tensor] for tensor in graph.model_outputs.tolist()]


class MarkingRunner:
    """All segments of a pipeline, handing tensors on by name."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = list(segments)
        self._marked = [_MarkedSegment(segment.content) for segment in segments]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        names = [spec.name for spec in self._segments[0].inputs]
        values = dict(zip(names, inputs, strict=True))
        for segment, marked in zip(self._segments, self._marked, strict=True):
            made = marked.run([values[spec.name] for spec in segment.inputs])
            values.update(zip((spec.name for spec in segment.outputs), made, strict=True))
        return [values[spec.name] for spec in self._segments[-1].outputs]
