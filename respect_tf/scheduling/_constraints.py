"""`Constraints`: what a schedule has to keep, whatever it costs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real
from respect_tf.graph import OpGraph


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constraints:
    """Restrictions on schedules, beside those that every schedule obeys.

    Attributes:
        stage_bytes: The most parameter bytes that a stage may hold: one number for all stages or
            one per stage, 0 or more, infinite for no limit; `None` for no limits.
        colocated: Groups of ops; the ops of a group share a stage.
        colocate_children: Whether all ops that read what an op makes share a stage. This is the
            rule of the RESPECT paper (arXiv 2304.04716).
        pinned: The stage of some ops.
        uncut_tensors: Tensors that may not cross from a stage to another: the op that makes one
            and all ops that read it share a stage; of an input of the model, all that read it.
        on_cpu: Ops that have to run on the host, in CPU stages (`Schedule.cpu_stages`), with those
            that share a stage with them; beside ops that stop a file from being compiled.

    Raises:
        ArgumentError: A value has the wrong type or is negative or NaN.
    """

    stage_bytes: float | Sequence[float] | None = None
    colocated: Sequence[Sequence[int]] = ()
    colocate_children: bool = False
    pinned: Mapping[int, int] = dataclasses.field(default_factory=dict, hash=False)
    uncut_tensors: Sequence[int] = ()
    on_cpu: Sequence[int] = ()

    def __post_init__(self) -> None:
        groups = tuple(_whole("colocated", group) for group in _listed("colocated", self.colocated))
        if not isinstance(self.pinned, Mapping):
            raise ArgumentError(
                f"pinned must map ops to stages, as in {{3: 0}}. Received: {self.pinned!r}."
            )
        ops, stages = _whole("pinned", self.pinned), _whole("pinned", self.pinned.values())
        if not isinstance(self.colocate_children, bool):
            raise ArgumentError(
                f"colocate_children must be True or False. Received: {self.colocate_children!r}."
            )
        for name, value in {
            "stage_bytes": _room(self.stage_bytes),
            "colocated": groups,
            "pinned": dict(sorted(zip(ops, stages, strict=True))),
            "uncut_tensors": _whole("uncut_tensors", self.uncut_tensors),
            "on_cpu": _whole("on_cpu", self.on_cpu),
        }.items():
            object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        """Whether it restricts the stages of ops on Edge TPUs."""
        return (
            self.stage_bytes is not None
            or self.colocate_children
            or bool(self.colocated or self.pinned or self.uncut_tensors)
        )

    def check(self, graph: OpGraph, num_stages: int) -> None:
        """Check that what they name is there.

        Raises:
            ArgumentError: An op, tensor or stage is out of range, a tensor is a constant, or
                `stage_bytes` has another number of stages.
        """
        for group in self.colocated:
            _check_range("colocated", "op", group, graph.num_ops)
        _check_range("on_cpu", "op", self.on_cpu, graph.num_ops)
        _check_range("pinned", "op", self.pinned, graph.num_ops)
        _check_range("pinned", "stage", self.pinned.values(), num_stages)
        _check_range("uncut_tensors", "tensor", self.uncut_tensors, graph.num_tensors)
        for tensor in self.uncut_tensors:
            if graph.is_constant[tensor]:
                raise ArgumentError(
                    f"uncut_tensors names the tensor {tensor} '{graph.tensor_names[tensor]}', a "
                    "constant: constants never cross. Expected tensors that ops make."
                )
        if isinstance(self.stage_bytes, Sequence) and len(self.stage_bytes) != num_stages:
            raise ArgumentError(
                f"stage_bytes must be one number, or one for each of the {num_stages} stages. "
                f"Received: {len(self.stage_bytes)} numbers."
            )

    def rooms(self, num_stages: int) -> list[float] | None:
        """The most parameter bytes of each stage; `None` for no limits."""
        if self.stage_bytes is None:
            return None
        if isinstance(self.stage_bytes, Sequence):
            return list(self.stage_bytes)
        return [self.stage_bytes] * num_stages

    def within(self, rooms: Sequence[float]) -> Constraints:
        """The same, and no stage may hold more parameter bytes than `rooms` says for it."""
        own = self.rooms(len(rooms)) or rooms
        least = tuple(min(pair) for pair in zip(own, rooms, strict=True))
        return dataclasses.replace(self, stage_bytes=least)

    def shared(self, graph: OpGraph) -> list[tuple[list[int], str]]:
        """Groups of ops that share a stage, each with the reason."""
        groups = [(list(group), "they are a group of `colocated`") for group in self.colocated]
        offsets, readers = graph.readers
        for tensor in self.uncut_tensors:
            ops = readers[offsets[tensor] : offsets[tensor + 1]].tolist()
            maker = [int(graph.producer[tensor])] if graph.producer[tensor] >= 0 else []
            reason = f"they make or read the uncut tensor '{graph.tensor_names[tensor]}'"
            groups.append((maker + ops, reason))
        if self.colocate_children:
            edges = graph.edges.tolist()  # sorted by maker
            for parent, pairs in itertools.groupby(edges, key=operator.itemgetter(0)):
                children = [child for _, child in pairs]
                groups.append((children, f"they are children of {graph.describe_op(parent)}"))
        return groups


def _check_range(name: str, kind: str, indices: Iterable[int], count: int) -> None:
    for index in indices:
        if index >= count:
            raise ArgumentError(
                f"{name} names the {kind} {index}. Expected 0 to {count - 1}, as there are {count}."
            )


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ArgumentError(f"{name} must be a list. Received: {values!r}.")
    return list(values)


def _whole(name: str, values: Any) -> tuple[int, ...]:
    found = _listed(name, values)
    for value in found:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise ArgumentError(f"{name} must hold whole numbers from 0. Received: {value!r}.")
    return tuple(map(int, found))


def _room(value: Any) -> float | tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_number(part) for part in value)
    return _number(value)


def _number(value: Any) -> float:
    if not is_real(value) or math.isnan(value) or value < 0:
        raise ArgumentError(
            f"stage_bytes must be numbers, 0 or more, or None for no limit. Received: {value!r}."
        )
    number: float = value.item() if isinstance(value, np.generic) else value
    return number
