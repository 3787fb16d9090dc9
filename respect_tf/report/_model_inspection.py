"""What converting a float model will give: what maps, what is rewritten, what stays on the CPU."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from respect_tf._reporting import Verbosity, printable
from respect_tf.device import blocking_reason, unmapped_ops, unsupported_reason
from respect_tf.graph import OpGraph
from respect_tf.report._text import format_bytes, table
from respect_tf.tflite import (
    FloatTFLite,
    describe_rewritten,
    float_tflite,
    int8_preview,
    layer_of,
    rewrite,
)

_MOST_NAMED = 4


@dataclass(frozen=True)
class UnmappedOps:
    """Ops of one kind that an Edge TPU does not run.

    Attributes:
        op_type: Their type.
        count: How many.
        layers: Keras layers that they come from, or names of tensors where those are unknown.
        reason: What speaks against them.
        blocks: Whether the compiler gives up at a file with one of them.
    """

    op_type: str
    count: int
    layers: tuple[str, ...]
    reason: str
    blocks: bool


@dataclass(frozen=True)
class ModelInspection:
    """A float model before it is converted. `str(inspection)` is a table.

    Attributes:
        name: The model's name.
        inputs: Input -> dtype and shape, batch 1.
        outputs: Names of the outputs.
        num_ops: Ops as TensorFlow makes them.
        op_counts: Op type -> how often it will be there with `rewrite="safe"`, the most frequent
            first.
        parameter_bytes: Bytes of constants that the int8 model will have.
        macs: Multiply-accumulate operations.
        cpu_ops: Ops that will stay on the CPU of one Edge TPU with `rewrite="off"`, `"safe"` and
            `"all"`: those that are not supported and all that follow them; all ops where one stops
            the compiler.
        rewritten: What `"safe"` will rewrite, a line for each kind.
        offered: What `"all"` will rewrite besides.
        unmapped: What an Edge TPU will not run with `"safe"`.
    """

    name: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]
    num_ops: int
    op_counts: dict[str, int]
    parameter_bytes: int
    macs: int
    cpu_ops: dict[str, int]
    rewritten: tuple[str, ...]
    offered: tuple[str, ...]
    unmapped: tuple[UnmappedOps, ...]

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain dicts, lists and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.op_counts.items())
        lines = [f"model         {self.name}, not converted"]
        lines += [f"input         {name}: {said}" for name, said in self.inputs.items()]
        lines += [
            f"outputs       {', '.join(self.outputs)}",
            f"ops           {sum(self.op_counts.values())}: {counts}",
            f"parameters    {format_bytes(self.parameter_bytes)} in int8",
            f"MACs          {self.macs / 1e6:,.1f} M",
            "ops on CPU    "
            + ", ".join(f'{count} with rewrite="{mode}"' for mode, count in self.cpu_ops.items()),
        ]
        lines += [f"rewritten     {line}" for line in self.rewritten]
        lines += [f'with "all"    {line}' for line in self.offered]
        if not self.unmapped:
            lines.append("mapped        every op runs on an Edge TPU")
            return printable("\n".join(lines))
        rows = [
            [
                group.op_type,
                group.count,
                "yes" if group.blocks else "",
                _named(group.layers),
                group.reason,
            ]
            for group in self.unmapped
        ]
        lines += ["", table(["not mapped", "ops", "stops compiler", "layers", "why"], rows)]
        return printable("\n".join(lines))


def inspect_model(
    model: Any,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    verbose: Verbosity = 0,
) -> ModelInspection:
    """Say what converting a Keras model, a SavedModel or a file of one will give.

    It is converted to float, which takes no data; nothing is quantised or run.

    Raises:
        RespectError: The model cannot be loaded or converted, as for `respect_tf.convert`.
    """
    exact = float_tflite(model, custom_objects=custom_objects, trusted=trusted, verbose=verbose)
    names = exact.layer_names
    safe = rewrite(exact.content, "safe", layer_names=names)
    every = rewrite(safe.content, "all", layer_names=names)
    graphs = {
        "off": OpGraph.from_tflite(int8_preview(exact.content)),
        "safe": OpGraph.from_tflite(int8_preview(safe.content)),
        "all": OpGraph.from_tflite(int8_preview(every.content)),
    }
    graph = graphs["safe"]
    return ModelInspection(
        name=exact.name,
        inputs=_inputs(exact),
        outputs=exact.output_names,
        num_ops=graphs["off"].num_ops,
        op_counts=dict(collections.Counter(graph.op_types).most_common()),
        parameter_bytes=int(graph.parameter_bytes.sum()),
        macs=int(graph.macs.sum()),
        cpu_ops={mode: _count_on_cpu(each) for mode, each in graphs.items()},
        rewritten=describe_rewritten(safe.applied),
        offered=describe_rewritten(every.applied),
        unmapped=_unmapped(graph, names),
    )


def _inputs(exact: FloatTFLite) -> dict[str, str]:
    return {spec.name: f"{spec.dtype} {list(spec.shape)}" for spec in exact.inputs}


def _count_on_cpu(graph: OpGraph) -> int:
    ops = range(graph.num_ops)
    if any(blocking_reason(graph, op) is not None for op in ops):
        return graph.num_ops
    supported = [unsupported_reason(graph, op) is None for op in ops]
    return len(unmapped_ops(graph, ops, supported))


def _unmapped(graph: OpGraph, layer_names: Collection[str]) -> tuple[UnmappedOps, ...]:
    found: dict[tuple[str, str, bool], list[int]] = {}
    for op in range(graph.num_ops):
        reason = unsupported_reason(graph, op)
        if reason is not None:
            blocks = blocking_reason(graph, op) is not None
            found.setdefault((graph.op_types[op], reason, blocks), []).append(op)
    return tuple(
        UnmappedOps(
            kind,
            len(ops),
            tuple(dict.fromkeys(_layer(graph, op, layer_names) for op in ops)),
            reason,
            blocks,
        )
        for (kind, reason, blocks), ops in found.items()
    )


def _layer(graph: OpGraph, op: int, layer_names: Collection[str]) -> str:
    name = graph.tensor_names[int(graph.outputs_of(op)[0])]
    return layer_of(name, layer_names) or name


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
