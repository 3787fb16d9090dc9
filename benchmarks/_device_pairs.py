"""Public models with their compiled twins, and what the device model predicts for them."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks._device_data import DATA
from respect_tf.compile import CompiledModel, read_compiled
from respect_tf.device import (
    DeviceCosts,
    EdgeTpu,
    StageCost,
    op_parameters,
    stage_tensors,
    unsupported_reason,
)
from respect_tf.graph import OpGraph

_COMPILER_1 = 10  # min_runtime_version of what compiler 1.0 made


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A model and its compiled twin.

    Attributes:
        name: The model's file name: pairs of one model by several compilers share it.
        graph: The model.
        compiled: What the compiled file holds.
        file_bytes: Size of the compiled file.
        cost: What the device model predicts for the whole model on one device.
    """

    name: str
    graph: OpGraph
    compiled: CompiledModel
    file_bytes: int
    cost: StageCost

    @property
    def by_first_compiler(self) -> bool:
        """Whether compiler 1.0 made it, which stores biases of zeros and fills tiles otherwise."""
        return self.compiled.min_runtime_version == _COMPILER_1

    @property
    def in_parts(self) -> bool:
        """Whether it was compiled into several parts (`-a`), which the device model does not do."""
        return len(self.compiled.edge_tpu_ops) > 1

    @property
    def cpu_ops(self) -> list[int]:
        """Ops that the device model leaves on the CPU; in a model of parts, by themselves."""
        if not self.in_parts:
            return list(self.cost.cpu_ops)
        graph = self.graph
        return [op for op in range(graph.num_ops) if unsupported_reason(graph, op) is not None]

    @property
    def mapped_ops(self) -> list[int]:
        """All others."""
        return sorted(set(range(self.graph.num_ops)) - set(self.cpu_ops))

    @property
    def stored_bytes(self) -> int:
        """Predicted bytes of parameters in the compiled file."""
        parameters = op_parameters(self.graph, keeps_zero_biases=self.by_first_compiler)
        return int(parameters.stored[self.mapped_ops].sum())


def compiled_pairs() -> list[Pair]:
    """All public pairs."""
    return [
        _pair(source, compiled)
        for source, compiled in sorted(_files(), key=lambda files: str(files[1]))
    ]


def _files() -> Iterator[tuple[Path, Path]]:
    folder = DATA / "compiled"
    with (folder / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            source = folder / row["repo"].split("/")[1] / Path(row["source"]).name
            yield source, folder / row["compiled"]
    for compiled in (folder / "more").glob("*_edgetpu.tflite"):
        yield compiled.with_name(compiled.name.replace("_edgetpu", "")), compiled


def _pair(source: Path, compiled: Path) -> Pair:
    graph, content = OpGraph.from_tflite(source), compiled.read_bytes()
    found = read_compiled(content)
    if found is None:
        raise ValueError(f"{compiled.name} is no compiled model.")
    ops = range(graph.num_ops)
    tensors = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    cost = DeviceCosts.of(graph, EdgeTpu.preset("usb3-pi5")).stage(ops, *tensors)
    return Pair(source.name, graph, found, len(content), cost)
