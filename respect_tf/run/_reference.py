"""What a saved folder holds for the first look at a new device: inputs, and what comes of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np

from respect_tf._errors import InterpreterError
from respect_tf.graph import OpGraph
from respect_tf.run._chain import SegmentChain
from respect_tf.run.script._folder import REFERENCE
from respect_tf.segmentation import Segment, random_inputs

__all__ = ["REFERENCE", "reference_file"]

# Two random inputs tell a wrong file, device or order from a right one; a second one shows what is
# right for the first inference only. Where they and all that crosses take more, one has to do.
_SAMPLES = 2
_MOST_BYTES = 8 * 2**20


def reference_file(
    graph: OpGraph, segments: Sequence[Segment], load: Callable[[], SegmentChain]
) -> bytes | None:
    """Random inputs and every tensor that a segment makes of them, as an .npz file.

    Args:
        graph: The whole model's.
        segments: Its segments.
        load: Gives the segments, loaded.

    Returns:
        The same bytes for the same pipeline; None where a segment cannot be run here.
    """
    borders = {f"input_{position}": spec for position, spec in enumerate(segments[0].inputs)} | {
        f"segment_{segment.index}_output_{position}": spec
        for segment in segments
        for position, spec in enumerate(segment.outputs)
    }
    size = sum(int(np.prod(s.shape)) * np.dtype(s.dtype).itemsize for s in borders.values())
    count = _SAMPLES if _SAMPLES * size <= _MOST_BYTES else 1
    try:
        chain = load()
        made = [chain.tensors(inputs) for inputs in random_inputs(graph, count, seed=0)]
    except InterpreterError:
        return None  # whoever runs the model is told; saving it is possible all the same
    arrays = {key: np.stack([one[spec.name] for one in made]) for key, spec in borders.items()}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
