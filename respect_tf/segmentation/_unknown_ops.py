"""Custom ops that TFLite's interpreter does not have: what can be proved is what stands before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from respect_tf.graph import OpGraph
from respect_tf.segmentation._segment import Segment
from respect_tf.tflite import read_model, write_model

_CUSTOM = "CUSTOM:"
# The custom op that every interpreter of TFLite registers.
_KNOWN = ("CUSTOM:TFLite_Detection_PostProcess",)


def unknown_ops(graph: OpGraph) -> list[int]:
    """Custom ops that only runtimes of their own have, such as PoseNet's decoder."""
    return [
        op
        for op, kind in enumerate(graph.op_types)
        if kind.startswith(_CUSTOM) and kind not in _KNOWN
    ]


def provable(
    content: bytes, segments: Sequence[Segment], graph: OpGraph
) -> tuple[bytes, Sequence[Segment]]:
    """The model and its segments up to the first one that holds an unknown op.

    Tensors keep their numbers. Where the first segment holds one, both stay as they are: TFLite
    says then what it lacks.
    """
    unknown = {*unknown_ops(graph)}
    kept = next((n for n, s in enumerate(segments) if not unknown.isdisjoint(s.ops)), None)
    if not kept:
        return content, segments
    left = segments[:kept]
    model = read_model(content)
    subgraph = model.subgraphs[0]
    ops = {op for segment in left for op in segment.ops}
    subgraph.operators = [o for number, o in enumerate(subgraph.operators) if number in ops]
    made = [spec.tensor for segment in left for spec in segment.outputs]
    subgraph.outputs = np.array(list(dict.fromkeys(made)), np.int32)
    model.signatureDefs = None
    return write_model(model), left
