"""The op graph as a picture, coloured by stage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.report._colours import stage_colour
from respect_tf.report._layout import lay_out
from respect_tf.report._picture import Arrow, Circle, Lines, Picture, Rect, Shape, Strip, Text
from respect_tf.report._placed_graph import PlacedGraph

UNIT = 22  # pixels between two layers
_LEAST_WIDTH = 400


def schedule_picture(placed: PlacedGraph) -> Picture:
    """Every op in the colour of its stage, with what crosses from stage to stage.

    Args:
        placed: The graph in stages.
    """
    layout = lay_out(placed.graph, placed.stages)
    width = max(_LEAST_WIDTH, round(layout.width * UNIT))
    shapes: list[Shape] = []
    for band in layout.bands:
        colour, top, height = stage_colour(band.stage), band.top * UNIT, band.bottom - band.top
        shapes += [
            Rect(0, top, width, height * UNIT, colour, opacity=0.15),
            Rect(0, top, 4, height * UNIT, colour),
            Text(22, top + 17, placed.describe_stage(band.stage), "band", anchor="start"),
        ]
    for crosses in (False, True):
        lines = tuple(
            tuple((x * UNIT, y * UNIT) for x, y in link.points)
            for link in layout.links
            if link.crosses == crosses
        )
        shapes.append(Lines(lines, "crossing" if crosses else "inner"))
    shapes += _op_shapes(placed, layout.x * UNIT, layout.y * UNIT)
    legend = [
        ("•", "small: an op without parameters; the larger, the more parameters"),
        ("crossing", "crosses stages"),
        ("▶", "input or output of the model"),
    ]
    if placed.on_cpu.any():
        legend.append(("■", "op on the CPU"))
    strip = Strip(round(layout.height * UNIT), tuple(shapes), "op graph by stage")
    return Picture((strip,), tuple(legend), width=width)


def _op_shapes(
    placed: PlacedGraph, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
) -> list[Shape]:
    """A disc per op, whose area grows with its parameters; a square for those on the CPU."""
    held = placed.graph.parameter_bytes.astype(np.float64)
    radii = UNIT * (0.14 + 0.28 * np.sqrt(held / max(1.0, held.max(initial=0))))
    shapes: list[Shape] = []
    for op in np.argsort(placed.stages, kind="stable").tolist():
        x, y, radius = float(xs[op]), float(ys[op]), float(radii[op])
        colour, tip = stage_colour(int(placed.stages[op])), placed.describe_op(op)
        if placed.on_cpu[op]:
            side = 2 * radius
            shapes.append(Rect(x - radius, y - radius, side, side, colour, "cpu", tip=tip))
        else:
            shapes.append(Circle(x, y, radius, colour, tip))
    for ops, side in zip(_border_ops(placed), (-1, 1), strict=True):
        shapes += [Arrow(float(xs[op] + side * (radii[op] + 4) - 2), float(ys[op])) for op in ops]
    return shapes


def _border_ops(placed: PlacedGraph) -> tuple[list[int], list[int]]:
    """Ops that read an input of the model, and ops that make an output of it, ascending."""
    graph = placed.graph
    ops, tensors = graph.reads
    readers = set(ops[np.isin(tensors, graph.model_inputs)].tolist())
    makers = set(graph.producer[graph.model_outputs].tolist()) - {-1}
    return sorted(readers), sorted(makers)
