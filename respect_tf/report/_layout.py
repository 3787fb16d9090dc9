"""Where the ops of a graph in stages go in a picture.

Layers from left to right, written in rows like text: each stage begins a new row, and a stage with
more layers than a row has columns goes on in the next one. What a later layer reads passes through
the layers between on a track of its own, so no line runs behind an op (K. Sugiyama, S. Tagawa,
M. Toda, "Methods for visual understanding of hierarchical system structures", 1981).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph

Point = tuple[float, float]

_ASPECT = 1.7  # width to height that the number of columns aims at
_MIN_COLUMNS, _MAX_COLUMNS = 16, 96
_MARGIN = 1.0  # left and right of the columns, where lines go from row to row
_HEADER = 1.3  # above the first row of a stage, for its title
_GAP = 0.8  # between rows
# A graph whose long connections need more points than this per op gets straight lines for them.
_MAX_POINTS_PER_OP = 30


@dataclasses.dataclass(frozen=True)
class Band:
    """The part of the picture that belongs to a stage: from `top` to `bottom`."""

    stage: int
    top: float
    bottom: float


@dataclasses.dataclass(frozen=True)
class Link:
    """A line that a tensor takes from one layer to the next one that it meets.

    Attributes:
        source: The op that makes the tensor.
        points: Two ends of a curve that leaves and arrives horizontally, or the corners of a line
            that goes to another row.
        crosses: Whether it leads from a stage into another one.
    """

    source: int
    points: tuple[Point, ...]
    crosses: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduleLayout:
    """Where everything is. The unit is the distance of two layers; y grows downwards.

    Attributes:
        width: Of the whole picture.
        height: Of the whole picture.
        x: float64 [num_ops].
        y: float64 [num_ops].
        bands: One per stage, from top to bottom.
        links: The lines.
    """

    width: float
    height: float
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    bands: tuple[Band, ...]
    links: tuple[Link, ...]


@dataclasses.dataclass(eq=False)
class _Layers:
    """Ops and passing tensors, layer by layer. Points 0 to num_ops - 1 are the ops.

    Attributes:
        layer: The layer of each point.
        source: The op that a point belongs to.
        joins: Pairs of points with a line between.
        lane: How far below the middle of its row each point is.
        first: The first layer of each stage, and the number of layers.
        layer_array: `layer`, once all points are there. int64 [num_points].
        lane_array: `lane` likewise. float64 [num_points].
        join_array: `joins` likewise. int64 [num_joins, 2].
    """

    layer: list[int]
    source: list[int]
    joins: list[tuple[int, int]]
    lane: list[float]
    first: list[int]

    @functools.cached_property
    def layer_array(self) -> npt.NDArray[np.int64]:
        return np.array(self.layer, np.int64)

    @functools.cached_property
    def lane_array(self) -> npt.NDArray[np.float64]:
        return np.array(self.lane)

    @functools.cached_property
    def join_array(self) -> npt.NDArray[np.int64]:
        return np.array(self.joins, np.int64).reshape(-1, 2)


def lay_out(graph: OpGraph, stages: npt.NDArray[np.int32]) -> ScheduleLayout:
    """Lay out a graph.

    Args:
        graph: The graph.
        stages: int32 [num_ops], the stage of every op; none reads from a later one.
    """
    layers = _layers(graph, stages.tolist())
    most = max(np.diff(layers.first).max(), _MIN_COLUMNS)
    best = min(
        (_Rows(layers, columns) for columns in range(_MIN_COLUMNS, min(most, _MAX_COLUMNS) + 1, 2)),
        key=lambda rows: abs(np.log(rows.width / rows.height / _ASPECT)),
    )
    return best.layout(graph.num_ops)


def _layers(graph: OpGraph, stages: Sequence[int]) -> _Layers:
    """Give every op a layer and a lane."""
    layer, first = _op_layers(graph, stages)
    readers: list[list[int]] = [[] for _ in layer]
    for maker, reader in graph.edges.tolist():
        readers[maker].append(reader)
    spans = [max((layer[r] for r in rs), default=layer[op]) for op, rs in enumerate(readers)]
    longest = _longest_track([last - layer[op] for op, last in enumerate(spans)], len(layer))
    found = _Layers(list(layer), list(range(len(layer))), [], [], first)
    for op, rs in enumerate(readers):
        track = {layer[op]: op}
        if spans[op] - layer[op] <= longest:
            for passed in range(layer[op] + 1, spans[op]):
                found.joins.append((track[passed - 1], len(found.layer)))
                track[passed] = len(found.layer)
                found.layer.append(passed)
                found.source.append(op)
        found.joins += [(track.get(layer[reader] - 1, op), reader) for reader in rs]
    found.lane = _lanes(found, num_ops=len(layer))
    return found


def _op_layers(graph: OpGraph, stages: Sequence[int]) -> tuple[list[int], list[int]]:
    """The layer of each op, and the first one of each stage.

    In its stage, an op comes right before the first op that reads from it; one that no op of its
    stage reads from comes as early as it can.
    """
    order = graph.topological_order.tolist()
    inner: list[list[int]] = [[] for _ in order]
    depth = [0] * len(order)
    for maker, reader in graph.edges.tolist():
        if stages[maker] == stages[reader]:
            inner[maker].append(reader)
    for op in order:
        for reader in inner[op]:
            depth[reader] = max(depth[reader], depth[op] + 1)
    for op in reversed(order):
        if inner[op]:
            depth[op] = min(depth[reader] for reader in inner[op]) - 1
    sizes = [0] * (max(stages) + 1)
    for op, stage in enumerate(stages):
        sizes[stage] = max(sizes[stage], depth[op] + 1)
    first = [0, *np.cumsum(sizes).tolist()]
    return [first[stage] + depth[op] for op, stage in enumerate(stages)], first


def _longest_track(spans: Iterable[int], num_ops: int) -> int:
    """The longest connection that gets points in all layers it passes."""
    left = _MAX_POINTS_PER_OP * num_ops
    longest = 0
    for span in sorted(spans):
        left -= span
        if left < 0:
            break
        longest = span
    return longest


def _lanes(layers: _Layers, *, num_ops: int) -> list[float]:
    """Put each point at the height of what it reads from, at least 1 from its neighbours."""
    before: list[list[int]] = [[] for _ in layers.layer]
    members: list[list[int]] = [[] for _ in range(layers.first[-1])]
    for maker, reader in layers.joins:
        before[reader].append(maker)
    for point, layer in enumerate(layers.layer):
        members[layer].append(point)
    lane = [0.0] * len(layers.layer)
    for points in members:
        wanted = {
            point: sum(lane[maker] for maker in before[point]) / max(1, len(before[point]))
            for point in points
        }
        # Tensors that only pass by go below the ops.
        points.sort(key=lambda point: (wanted[point], point >= num_ops, point))
        places = _spread([wanted[point] for point in points])
        # Where everything goes through one point, the picture returns to the middle of its row.
        for point, place in zip(points, places if len(points) > 1 else [0.0], strict=True):
            lane[point] = place
    return lane


def _spread(wanted: Sequence[float]) -> list[float]:
    """The ascending places nearest to those wanted (least squares) that are 1 apart.

    Pool adjacent violators: R. E. Barlow et al., "Statistical inference under order restrictions"
    (1972).
    """
    blocks: list[tuple[float, int]] = []  # mean and size
    for index, place in enumerate(wanted):
        mean, size = place - index, 1
        while blocks and blocks[-1][0] >= mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    places = [mean for mean, size in blocks for _ in range(size)]
    return [place + index for index, place in enumerate(places)]


class _Rows:
    """The layers in rows of some columns."""

    def __init__(self, layers: _Layers, columns: int) -> None:
        self._layers = layers
        self._column: list[int] = []  # of each layer
        self._row: list[int] = []  # of each layer
        self._stage_of: list[int] = []  # of each row
        for stage in range(len(layers.first) - 1):
            for layer in range(layers.first[stage + 1] - layers.first[stage]):
                if layer % columns == 0:
                    self._stage_of.append(stage)
                self._row.append(len(self._stage_of) - 1)
                self._column.append(layer % columns)
        lanes, rows = layers.lane_array, np.array(self._row)[layers.layer_array]
        num_rows = len(self._stage_of)
        highest, lowest = np.zeros(num_rows), np.zeros(num_rows)
        np.minimum.at(highest, rows, lanes)
        np.maximum.at(lowest, rows, lanes)
        self._between = self._lines_between(num_rows)
        # Lines that go to another row run above it, each at a height of its own.
        above = np.array([_GAP + 0.2 * min(count, 12) for count in self._between])
        starts = [row == 0 or stage != self._stage_of[row - 1]
                  for row, stage in enumerate(self._stage_of)]  # fmt: skip
        self._top = np.zeros(num_rows)
        y = 0.0
        self._gutter, self._middle = np.zeros(num_rows), np.zeros(num_rows)
        self._bands_top = []
        for row in range(num_rows):
            self._gutter[row] = y + 0.2
            y += above[row]
            if starts[row]:
                self._bands_top.append(y)
                y += _HEADER
            self._middle[row] = y + 0.5 - highest[row]
            y += 1.0 + lowest[row] - highest[row]
            self._top[row] = y
        self.width, self.height = columns - 1 + 2 * _MARGIN, y + _GAP / 2

    def _lines_between(self, num_rows: int) -> list[int]:
        """How many lines run above each row."""
        joins = self._layers.join_array
        rows = np.array(self._row)[self._layers.layer_array]
        to_another = joins[rows[joins[:, 0]] != rows[joins[:, 1]]]
        pairs = np.stack([rows[to_another[:, 1]], to_another[:, 0]], axis=1)
        counts: list[int] = np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=num_rows).tolist()
        return counts

    def layout(self, num_ops: int) -> ScheduleLayout:
        layers = self._layers
        rows = [self._row[layer] for layer in layers.layer]
        x = np.array([_MARGIN + self._column[layer] for layer in layers.layer])
        y = self._middle[rows] + layers.lane_array
        stage_of = [self._stage_of[row] for row in rows]
        links = []
        tracks: list[dict[int, int]] = [{} for _ in self._gutter]  # of each row: maker -> track
        for maker, reader in sorted(layers.joins, key=lambda join: (join[1], join[0])):
            start, end = (float(x[maker]), float(y[maker])), (float(x[reader]), float(y[reader]))
            points: tuple[Point, ...] = (start, end)
            if rows[maker] != rows[reader]:
                row = rows[reader]
                track = tracks[row].setdefault(maker, len(tracks[row]))
                points = self._around(start, end, rows[maker], row, track)
            crosses = stage_of[maker] != stage_of[reader]
            links.append(Link(layers.source[maker], points, crosses))
        ends = [*(self._gutter[row] for row in self._first_rows()[1:]), self.height]
        bands = [
            Band(stage, float(top), float(end - 0.15))
            for stage, (top, end) in enumerate(zip(self._bands_top, ends, strict=True))
        ]
        return ScheduleLayout(
            width=float(self.width),
            height=float(self.height),
            x=x[:num_ops].astype(np.float64),
            y=y[:num_ops],
            bands=tuple(bands),
            links=tuple(links),
        )

    def _first_rows(self) -> list[int]:
        return [self._stage_of.index(stage) for stage in range(len(self._layers.first) - 1)]

    def _around(
        self, start: Point, end: Point, start_row: int, end_row: int, track: int
    ) -> tuple[Point, ...]:
        """The corners of a line to another row: below its own, left of all, above the other."""
        share = (track % 12) / 12
        right, left = start[0] + 0.45 + 0.2 * share, end[0] - 0.45 - 0.2 * share
        above = float(self._gutter[end_row]) + 0.2 * (track % 12)
        if end_row == start_row + 1:
            return (start, (right, start[1]), (right, above), (left, above), (left, end[1]), end)
        below, margin = float(self._top[start_row]) + 0.1 + 0.1 * share, 0.1 + 0.3 * share
        return (
            start, (right, start[1]), (right, below), (margin, below),
            (margin, above), (left, above), (left, end[1]), end,
        )  # fmt: skip
