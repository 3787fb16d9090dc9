"""Pictures that are too large for an Edge TPU, and what fits: smaller ones, or tiles."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

from respect_tf._errors import UnsupportedModelError
from respect_tf.device import MIB, first_device, predict, size_reason
from respect_tf.graph import OpGraph, picture_size, receptive_field, resized
from respect_tf.planning._rows import DevicePlan, SmallerPicture, TooLarge

_Planner = Callable[[OpGraph], DevicePlan]

# Activations "leave no room" where they cause most of what is streamed, and that costs frames. Of
# the ten models at their own size on one to four devices, none is called too large with these.
# benchmarks constants: half, twice, a tenth and ten times the same.
_MOST_OF_STREAMED = 0.5
# benchmarks constants: half and twice the same; a tenth the same; ten times +666.49 % cost (worst
#   +1333.0), 0.60 times the time.
_WORTH = 1.05
# benchmarks constants: half 0.88 times the time; twice the same.
_SIZES = 24  # smaller pictures that are looked at, evenly from the picture's size down
# benchmarks constants: half 0.71 times the time; twice 1.51 times the time.
_MOST_ALONG_A_SIDE = 8  # tiles
# benchmarks constants: half 0.83 times the time; twice 1.67 times the time.
_MORE_TILES = 2  # times the fewest tiles that fit: more overlap than they can win back


def too_large(graph: OpGraph, plan: DevicePlan, plan_again: _Planner) -> TooLarge | None:
    """Whether a model's pictures are too large for its plan, and what fits.

    They are where the compiler maps an op at no such size, or where activations take the room from
    parameters that are therefore sent at every inference. Proposed are the largest input without
    either, and, where no output depends on the whole picture, the tiles that give most pictures
    per second.

    Args:
        graph: The model.
        plan: Its plan.
        plan_again: Plans for the graph of another size, as `plan` was made.

    Returns:
        None where nothing is too large, or the model reads no picture.
    """
    try:
        height, width = picture_size(graph)
    except UnsupportedModelError:
        return None
    reason = _reason(graph, plan) if graph.op_attributes else ""
    if not reason:
        return None
    field = receptive_field(graph)
    step = (_whole(field.step[0]), _whole(field.step[1]))
    try:
        smaller = _largest_input(graph, plan, step)
    except UnsupportedModelError as error:
        return TooLarge(height, width, reason, (), f"It takes no smaller input: {error}")
    if smaller is None:
        note = "No smaller input that was looked at fits either"
        return TooLarge(height, width, reason, (), note)
    ways = [_planned(smaller, 1, (0, 0), plan_again)]
    tiles = None
    note = ""
    if not field.is_local:
        note = "No tiles: an output depends on the whole picture"
    else:
        overlap = tuple(
            math.ceil((pixels - 1) / unit) * unit
            for pixels, unit in zip(field.field, step, strict=True)
        )
        tiles = _best_tiles(graph, plan, step, (overlap[0], overlap[1]))
        note = "" if tiles else "No tiles: they would share more than they show"
    if tiles is not None:
        ways.append(_planned(tiles[0], tiles[1], tiles[2], plan_again))
    return TooLarge(height, width, reason, tuple(ways), note)


def _planned(
    graph: OpGraph,
    tiles: int,
    overlap: tuple[int, int],
    plan_again: Callable[[OpGraph], DevicePlan],
) -> SmallerPicture:
    return SmallerPicture(*picture_size(graph), tiles, overlap, plan_again(graph).best)


def _reason(graph: OpGraph, plan: DevicePlan) -> str:
    """What of a graph does not fit; empty where all does."""
    found = [(op, size_reason(graph, op)) for op in range(graph.num_ops)]
    stopped = [(op, why) for op, why in found if why is not None]
    if stopped:
        op, why = stopped[0]
        more = f" (and {len(stopped) - 1} more ops)" if len(stopped) > 1 else ""
        return f"{graph.describe_op(op)} is too large to be mapped{more}: {why}"
    best, device = plan.best, first_device(plan.device)
    roomy = dataclasses.replace(device, activation_cap_mib=0.0)
    now, then = (predict(graph, best.schedule, d, replicas=best.replicas) for d in (device, roomy))
    caused = now.streamed_bytes - then.streamed_bytes
    if caused <= _MOST_OF_STREAMED * now.streamed_bytes:
        return ""
    if now.interval_ms < _WORTH * then.interval_ms:
        return ""
    return (
        f"activations leave no room for {caused / MIB:.3g} MiB of parameters, which are sent at "
        "every inference"
    )


def _largest_input(graph: OpGraph, plan: DevicePlan, step: tuple[int, int]) -> OpGraph | None:
    """The largest smaller picture that fits: sizes are tried in steps, the sides in proportion.

    Raises:
        UnsupportedModelError: The model takes none of these sizes.
    """
    height, width = picture_size(graph)
    most = (height - 1) // step[0]
    counts = sorted({max(1, round(most * part / _SIZES)) for part in range(1, _SIZES + 1)})
    refused: UnsupportedModelError | None = None
    takes_one = False
    for count in counts if most else ():
        rows = height - count * step[0]
        columns = width - round(count * step[0] * width / height / step[1]) * step[1]
        try:
            other = resized(graph, rows, max(columns, 1))
        except UnsupportedModelError as error:
            refused = refused or error
            continue
        takes_one = True
        if not _reason(other, plan):
            return other
    if refused is not None and not takes_one:
        raise refused
    return None


def _best_tiles(
    graph: OpGraph, plan: DevicePlan, step: tuple[int, int], overlap: tuple[int, int]
) -> tuple[OpGraph, int, tuple[int, int]] | None:
    """The graph of a tile, how many make a picture, and what they share along each side."""
    device, best = first_device(plan.device), plan.best
    found: list[tuple[float, OpGraph, int, tuple[int, int]]] = []
    fewest = math.inf
    for count, sides, shared in _tilings(picture_size(graph), step, overlap):
        if count > _MORE_TILES * fewest:
            break
        try:
            tile = resized(graph, *sides)
        except UnsupportedModelError:
            continue
        if _reason(tile, plan):
            continue
        fewest = min(fewest, count)
        ms = predict(tile, best.schedule, device, replicas=best.replicas).interval_ms
        found.append((ms * count, tile, count, shared))
    if not found:
        return None
    _, tile, count, shared = min(found, key=lambda item: (item[0], item[2]))
    return tile, count, shared


def _tilings(
    size: tuple[int, int], step: tuple[int, int], overlap: tuple[int, int]
) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """How many tiles, how large, and what they share, the fewest tiles first."""
    counts = range(1, _MOST_ALONG_A_SIDE + 1)
    for rows, columns in sorted(itertools.product(counts, counts), key=lambda c: (c[0] * c[1], c)):
        if rows * columns == 1:
            continue
        sides = []
        for whole, unit, shared, count in zip(size, step, overlap, (rows, columns), strict=True):
            least = whole if count == 1 else (whole - shared) / count + shared
            side = whole - math.floor((whole - least) / unit) * unit
            # A side that is no shorter is not cut, and one that is shared to its end has no end.
            sides.append(side if count == 1 or shared < side < whole else 0)
        if all(sides):
            cut = tuple(o if n > 1 else 0 for o, n in zip(overlap, (rows, columns), strict=True))
            yield rows * columns, (sides[0], sides[1]), (cut[0], cut[1])


def _whole(step: float) -> int:
    return max(1, math.ceil(step))
