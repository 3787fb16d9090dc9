"""Ops that go wrong at a segment's border, looked for in the bytes of a segment's file.

The runner marks inputs and outputs of a segment as constants. Which kernels of TFLite that misleads
was observed with the real runner on 1,149 pipelines and TensorFlow 2.19's kernels. This shares
nothing with the code that cuts: it knows a file alone. A compiled file holds those ops that stayed
on the CPU; in one that is not compiled yet every op may be one of them.
"""

from __future__ import annotations

from typing import Any

from respect_tf.tflite import ints, op_type, read_model, text

_STALE = "where it runs on the CPU, the runner's results are stale from the second inference on"
_NEVER = "where it runs on the CPU, the runner never computes it"


def border_faults(content: bytes, where: str) -> tuple[str, ...]:
    """What is wrong at the borders of a segment's model.

    Args:
        content: The bytes of the segment's model, compiled or not.
        where: How messages name the segment.

    Returns:
        A sentence for each op and border, with the op's index in the file, its type, the tensor and
        what happens.
    """
    model = read_model(content)
    subgraph = model.subgraphs[0]
    entering, leaving = set(ints(subgraph.inputs)), set(ints(subgraph.outputs))
    made = {tensor for operator in subgraph.operators for tensor in ints(operator.outputs)}
    found = []

    def tell(index: int, kind: str, does: str, tensor: int, effect: str) -> None:
        name = text(subgraph.tensors[tensor].name)
        found.append(f"{where}: op {index} of its file, {kind}, {does} '{name}': {effect}.")

    for index, operator in enumerate(subgraph.operators):
        kind = op_type(model, operator)
        read, written = ints(operator.inputs), ints(operator.outputs)
        if kind == "CONCATENATION":
            for tensor in leaving.intersection(written):
                tell(index, kind, "writes the segment's output", tensor, _NEVER)
        reads = read[:1] if kind == "DEQUANTIZE" else read[1:2] if kind == "BATCH_MATMUL" else []
        for tensor in reads:
            if tensor in entering:
                tell(index, kind, "reads the segment's input", tensor, _STALE)
            elif tensor in leaving:
                does = "reads a tensor that is the segment's output as well,"
                tell(index, kind, does, tensor, _STALE)
        if kind == "DEQUANTIZE" and not made.union(entering).issuperset(reads):
            for tensor in leaving.intersection(written):
                tell(index, f"{kind} of a constant", "writes the segment's output", tensor, _STALE)
    return tuple(found)


def kept_states(content: bytes, where: str) -> tuple[str, ...]:
    """What is to be said about ops that keep a state from one inference to the next.

    Args:
        content: The bytes of the segment's model.
        where: How messages name the segment.
    """
    model = read_model(content)
    subgraph = model.subgraphs[0]
    found = []
    for index, operator in enumerate(subgraph.operators):
        if any(_is_state(model, subgraph.tensors[t]) for t in ints(operator.inputs) if t >= 0):
            found.append(
                f"{where}: op {index} of its file, {op_type(model, operator)}, keeps its state in "
                "variable tensors. Where it runs on the CPU, Coral's pipeline runner goes on from "
                "the state that the inference before has left; predict() begins each sample "
                "with a fresh one, and predict(..., reset_states=False) does as the runner."
            )
    return tuple(found)


def _is_state(model: Any, tensor: Any) -> bool:
    return bool(tensor.isVariable) and model.buffers[tensor.buffer].data is None
