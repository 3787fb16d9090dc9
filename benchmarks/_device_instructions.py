"""The fit of what instructions an op adds, and its errors on what the fit did not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_pairs import Pair
from benchmarks._device_rows import Network
from respect_tf.device import instruction_bytes, instruction_features, op_parameters
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A compiled model or segment.

    Attributes:
        model: The model that it is of: all of its samples are left out together.
        graph: The graph.
        ops: Its ops on the device.
        parts: Number of its programs for the device.
        sent: Bytes of instructions at every inference.
    """

    model: str
    graph: OpGraph
    ops: Sequence[int]
    parts: int
    sent: float

    @property
    def features(self) -> Floats:
        """Its number of bases, and the sums of its ops' features."""
        return np.array([self.parts, *instruction_features(self.graph)[self.ops].sum(axis=0)])

    @property
    def predicted(self) -> float:
        """What the shipped constants say."""
        base, per_op = instruction_bytes(self.graph)
        return self.parts * base + float(per_op[self.ops].sum())


def instruction_samples(
    pairs: Sequence[Pair], networks: Mapping[str, Network]
) -> tuple[list[Sample], list[Sample]]:
    """Samples of compiled files, and of networks in segments, of which only sizes are known.

    What a segment's file holds beside its parameters are instructions, a part of which loads the
    parameters and does not count, and a rest that is about the same in all files: both are medians
    of the pairs without ops on the CPU. A network's last segment is left out: nobody knows what its
    SOFTMAX stores.
    """
    files = [
        Sample(
            pair.name,
            pair.graph,
            pair.mapped_ops,
            len(pair.compiled.edge_tpu_ops),
            pair.compiled.run_instruction_bytes,
        )
        for pair in pairs
    ]
    compiled = [(pair.file_bytes, pair.compiled) for pair in pairs if not pair.compiled.cpu_ops]
    rest = np.median([size - c.cached_bytes - c.streamed_bytes - c.instruction_bytes
                      for size, c in compiled])  # fmt: skip
    run = np.median([c.run_instruction_bytes / c.instruction_bytes for _, c in compiled])
    segments = []
    for name, (graph, rows, all_ops) in networks.items():
        stored = op_parameters(graph).stored
        for row, ops in list(zip(rows, all_ops, strict=True))[:-1]:
            instructions = int(row["compiled_model_bytes"]) - int(stored[ops].sum()) - rest
            segments.append(Sample(name, graph, ops, 1, float(run * instructions)))
    return files, segments


def fitted_costs(samples: Sequence[Sample]) -> Floats:
    """The base and the costs of features with the least sum of relative errors, none negative."""
    from scipy.optimize import linprog

    scaled = np.array([sample.features / sample.sent for sample in samples])
    count, width = scaled.shape
    errors = np.eye(count)
    found = linprog(
        np.concatenate([np.zeros(width), np.ones(count)]),
        A_ub=np.block([[scaled, -errors], [-scaled, -errors]]),
        b_ub=np.concatenate([np.ones(count), -np.ones(count)]),
        method="highs",
    )
    costs: Floats = found.x[:width]
    return costs


def left_out_errors(samples: Sequence[Sample], judged: Sequence[Sample]) -> Floats:
    """Relative error of each of `judged` by a fit that saw nothing of its model."""
    costs: dict[str, Floats] = {}
    errors = []
    for sample in judged:
        if sample.model not in costs:
            seen = [other for other in samples if other.model != sample.model]
            costs[sample.model] = fitted_costs(seen)
        errors.append(float(sample.features @ costs[sample.model]) / sample.sent - 1)
    return np.array(errors)
