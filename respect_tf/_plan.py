"""`plan()`: how many Edge TPUs a model is worth, and what to do with them."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any, Literal, TypeVar

from respect_tf._architecture import Architecture, architecture_of
from respect_tf._choosing import counted_devices
from respect_tf._convert import convert
from respect_tf._errors import ArgumentError
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, progress
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.planning import DevicePlan, plan_devices, too_large
from respect_tf.report import plan_dict, plan_html, plan_text, plot_plan
from respect_tf.scheduling import Constraints, Objective


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class Plan(DevicePlan):
    """What a model gains from each number of Edge TPUs. `str(plan)` is a table.

    Attributes:
        name: The model's name.
        graph: Its op graph.
    """

    name: str
    graph: OpGraph = dataclasses.field(repr=False, compare=False)
    _source: tuple[Any, Any] | None = dataclasses.field(repr=False, compare=False)
    _options: dict[str, Any] = dataclasses.field(repr=False, compare=False)

    def convert(self, representative_dataset: Any = None, **options: Any) -> Pipeline:
        """Make the pipeline that is best: `respect_tf.convert` with what was planned.

        Args:
            representative_dataset: As for `respect_tf.convert`; what `plan` was given if left out.
            **options: Further arguments of `respect_tf.convert`.

        Raises:
            ArgumentError: The plan is for a graph, of which no file can be made, or an option is
                one that the plan has settled.
            RespectError: As for `respect_tf.convert`.
        """
        if self._source is None:
            raise ArgumentError(
                "The plan was made for an OpGraph, which has no weights to convert. Expected a "
                'plan of a model; or call respect_tf.convert(model, num_segments="auto", '
                f"num_devices={self.num_devices})."
            )
        settled = sorted({"model", "num_segments", "num_devices", *self._options} & set(options))
        if settled:
            raise ArgumentError(
                f"{settled[0]} is settled by the plan. Make another plan, or call "
                f"respect_tf.convert. Received: {settled[0]}={options[settled[0]]!r}."
            )
        model, samples = self._source
        if representative_dataset is None:
            representative_dataset = samples
        return convert(
            model,
            "auto",
            representative_dataset,
            num_devices=self.num_devices,
            **self._options,
            **options,
        )

    def plot(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw frames per second against the number of Edge TPUs.

        Args:
            ax: matplotlib axes to draw into; a new figure if left out.
            path: A file to write (.png, .svg, .pdf).

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            DependencyError: matplotlib is not installed.
        """
        return plot_plan(self, title=self.name, ax=ax, path=path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        return {"name": self.name, **plan_dict(self)}

    def _repr_html_(self) -> str:
        return plan_html(self, self.name)

    def __str__(self) -> str:
        return plan_text(self, self.name)


def plan(
    model_or_graph: Any,
    num_devices: int | Literal["attached"],
    representative_dataset: Any = None,
    *,
    device: DeviceLike = "usb3",
    objective: str | Objective = "throughput",
    scheduler: str = "policy",
    constraints: Constraints | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> Plan:
    """Say what a model gains from 1, 2, ... Edge TPUs, and how to use them best.

    All ways to use the devices are looked at: copies of the whole model, pipelines, and pipelines
    whose slow segments run on several devices. The one with the least time between results is
    found and proved: no cut and no distribution of devices is faster by the device model, in which
    a segment on r devices gives a result every r-th part of its time, all devices of a controller
    share its bus, and the host hands out the work of each segment. Where a graph is too wide to
    look at all of its cuts, the best of many orders of its ops counts, and the plan says so.

    Args:
        model_or_graph: What `respect_tf.convert` takes but for a configured converter, an
            `OpGraph`, or a `Pipeline`. A Keras model of layers that are known is not converted
            for it, and none needs data.
        num_devices: Number of Edge TPUs at most, replicas included; `"attached"` asks the machine.
        representative_dataset: Samples to calibrate with, for `Plan.convert`.
        device: The host, see `respect_tf.schedule`. Of several, the way is best whose interval on a
            host, divided by the least that as many devices can have there, is least where it is
            largest; figures are those of the first host.
        objective: `"throughput"`, `"latency"`, `"memory"` or an `Objective`.
        scheduler: What cuts where the objective is not throughput, or there are constraints.
        constraints: What cuts have to keep.
        time_limit: Seconds for the search; None for no limit.
        seed: Seed of schedulers that use chance.
        verbose: 0 is silence.

    Returns:
        The plan: `rows`, `best`, `convert()`, `plot()`; `str(plan)` is a table.

    Raises:
        ArgumentError: An argument is out of range, such as no devices.
        DeviceError: No Edge TPU is attached, where the machine is asked.
        RespectError: The model cannot be read or converted.
    """
    num_devices = counted_devices(num_devices)
    found = architecture_of(model_or_graph, verbose=verbose)
    options: dict[str, Any] = {
        "device": device,
        "objective": objective,
        "scheduler": scheduler,
        "constraints": constraints,
        "time_limit": time_limit,
        "seed": seed,
    }
    model = model_or_graph.model if isinstance(model_or_graph, Pipeline) else model_or_graph
    source = None if found.origin == "graph" else (model, representative_dataset)
    return plan_of(Plan, found, num_devices, source=source, options=options, verbose=verbose)


PlanT = TypeVar("PlanT", bound=Plan)


def plan_of(
    kind: type[PlanT],
    found: Architecture,
    num_devices: int,
    *,
    source: tuple[Any, Any] | None,
    options: dict[str, Any],
    verbose: Verbosity,
    **more: Any,
) -> PlanT:
    """A plan for a graph, with what to do where its pictures are too large.

    Args:
        kind: `Plan`, or a class of its own.
        found: The model.
        num_devices: Number of Edge TPUs at most.
        source: The model as it was given, and samples; None where it cannot be converted.
        options: Further arguments of `plan_devices`.
        verbose: 0 is silence.
        **more: Further fields of the class.
    """
    started = time.monotonic()

    def planned_for(graph: OpGraph) -> DevicePlan:
        limit = options["time_limit"]
        left = None if limit is None else max(0.0, started + limit - time.monotonic())
        return plan_devices(graph, num_devices, **{**options, "time_limit": left})

    with progress(f"Planning for up to {num_devices} Edge TPUs", verbose=verbose):
        planned = plan_devices(found.graph, num_devices, **options)
        large = too_large(found.graph, planned, planned_for)
    fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
    return kind(
        **{**fields, "too_large": large},
        name=plain_name(found.name),
        graph=found.graph,
        _source=source,
        _options=options,
        **more,
    )
