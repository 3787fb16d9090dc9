"""Hypothesis strategies: random small int8 models and random valid schedules for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from model_builder import ModelBuilder

from respect_tf import OpGraph

_KINDS = ["add", "relu", "conv", "shared_conv", "split", "concatenate", "multiply_constant"]


@st.composite
def models(draw, max_ops: int = 12, float_outputs: bool = True) -> bytes:
    """Branches, skips, several inputs and outputs, shared constants, unused outputs, odd names."""
    builder = ModelBuilder(seed=draw(st.integers(0, 100)))
    pool = [builder.input() for _ in range(draw(st.integers(1, 3)))]
    made = []
    for _ in range(draw(st.integers(1, max_ops))):
        kind = draw(st.sampled_from(_KINDS))
        # The newest tensors are drawn more often, so that models grow long as well as wide.
        tensor = pool[
            -1 - min(draw(st.integers(0, 2 * len(pool))) % (2 * len(pool)), len(pool) - 1)
        ]
        alike = [other for other in pool if builder.channels(other) == builder.channels(tensor)]
        if kind == "add":
            outs = [builder.add(tensor, draw(st.sampled_from(alike)))]
        elif kind == "multiply_constant":
            outs = [builder.add(tensor, builder.constant((1, 1, 1, builder.channels(tensor))))]
        elif kind == "relu":
            outs = [builder.relu(tensor)]
        elif kind in ("conv", "shared_conv"):
            outs = [builder.conv(tensor, 8, shared=kind == "shared_conv")]
        elif kind == "split" and builder.channels(tensor) % 2 == 0:
            outs = builder.split(tensor)
        elif kind == "concatenate" and builder.channels(tensor) <= 16:
            outs = [builder.concatenate([tensor, draw(st.sampled_from(pool))])]
        else:
            outs = [builder.relu(tensor)]
        pool += outs
        made += outs
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=4))
    if draw(st.booleans()):
        outputs.append(made[-1])
    if draw(st.integers(0, 5)) == 0:
        outputs.append(builder.inputs[0])  # a model input that is also an output
    if float_outputs and draw(st.integers(0, 5)) == 0:
        outputs[0] = builder.dequantize(outputs[0])
    if draw(st.integers(0, 3)) == 0:  # names that the runner cannot tell apart
        for tensor in made:
            builder.rename(tensor, draw(st.sampled_from(["same", "", "größe", "same_1"])))
    return builder.build(outputs)


@st.composite
def blocked_models(draw, max_ops: int = 12) -> bytes:
    """Branches and skips with ops that stop a file from compiling anywhere."""
    builder = ModelBuilder(seed=draw(st.integers(0, 100)))
    pool = [builder.input() for _ in range(draw(st.integers(1, 2)))]
    made = []
    kinds = ["add", "relu", "conv", "concatenate", "gelu", "gelu", "dequantize"]
    for _ in range(draw(st.integers(1, max_ops))):
        kind = draw(st.sampled_from(kinds))
        tensor = pool[-1 - min(draw(st.integers(0, 3)), len(pool) - 1)]
        alike = [other for other in pool if builder.channels(other) == builder.channels(tensor)]
        if kind == "add":
            out = builder.add(tensor, draw(st.sampled_from(alike)))
        elif kind == "conv":
            out = builder.conv(tensor, 8)
        elif kind == "concatenate" and builder.channels(tensor) <= 16:
            out = builder.concatenate([tensor, draw(st.sampled_from(pool))])
        elif kind == "gelu":
            out = builder.tensor(f"gelu_{len(made)}", (1, 4, 4, builder.channels(tensor)))
            builder.op("GELU", [tensor], [out])
        elif kind == "dequantize":
            out = builder.quantize(builder.dequantize(tensor))
        else:
            out = builder.relu(tensor)
        pool.append(out)
        made.append(out)
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    if made[-1] not in outputs:
        outputs.append(made[-1])
    return builder.build(outputs)


@st.composite
def stages(draw, graph: OpGraph, max_stages: int = 8) -> np.ndarray:
    """A random valid schedule: int32 [num_ops]."""
    limit = draw(st.integers(0, max_stages - 1))
    bound = np.zeros(graph.num_ops, int)
    chosen = np.zeros(graph.num_ops, int)
    partner = {int(right): int(left) for left, right in graph.colocated}
    for op in range(graph.num_ops):
        if op in partner:
            chosen[op] = chosen[partner[op]]
        else:
            chosen[op] = draw(st.integers(int(bound[op]), max(limit, int(bound[op]))))
        for reader in graph.edges[graph.edges[:, 0] == op, 1]:
            bound[reader] = max(bound[reader], chosen[op])
    return np.unique(chosen, return_inverse=True)[1].astype(np.int32)
