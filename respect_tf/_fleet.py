"""`plan_fleet()`: several models on some Edge TPUs, planned, converted, simulated and run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from respect_tf._architecture import architecture_of
from respect_tf._convert import convert
from respect_tf._errors import ArgumentError
from respect_tf._files import write_file
from respect_tf._folder_target import check_writable_target
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, progress
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.planning import Aim, FleetGroup, FleetPlan, plan_fleet_of
from respect_tf.report import fleet_text
from respect_tf.run import Arrivals, FleetSimulation, Station, simulate_fleet

_FLEET_FILE = "fleet.json"
_COMPILE_FILE = "compile_fleet.sh"


@dataclasses.dataclass(frozen=True)
class Fleet(FleetPlan):
    """Several models and their devices. `str(fleet)` is a table.

    Attributes:
        graphs: The op graph of each model.
    """

    graphs: dict[str, OpGraph] = dataclasses.field(repr=False, compare=False)
    _models: dict[str, Any] = dataclasses.field(repr=False, compare=False)

    def simulate(
        self, seconds: float = 60.0, *, arrivals: Arrivals = "poisson", seed: int = 0
    ) -> FleetSimulation:
        """Simulate the queues before the devices; see `simulate_fleet` for what is left out.

        Args:
            seconds: Time during which inputs arrive, at the rates.
            arrivals: `"regular"` or `"poisson"`.
            seed: Of what is random.

        Raises:
            ArgumentError: An argument does not fit.
        """
        stations: list[Station] = []
        routes: dict[str, tuple[int, ...]] = {}
        for group in self.groups:
            first = len(stations)
            if len(group.models) > 1:
                stations.append(Station(group.num_devices, dict(group.inference_ms)))
                routes |= dict.fromkeys(group.models, (first,))
                continue
            (model,) = group.models
            for ms, count in zip(group.stage_ms, group.replicas, strict=True):
                stations.append(Station(count, {model: ms}))
            routes[model] = tuple(range(first, len(stations)))
        return simulate_fleet(
            tuple(stations), routes, self.rates, seconds=seconds, arrivals=arrivals, seed=seed
        )

    def convert(
        self,
        representative_datasets: Mapping[str, Any] | None = None,
        *,
        verbose: Verbosity = "auto",
        **options: Any,
    ) -> FleetPipelines:
        """Make the pipelines of all models, cut for their devices.

        Args:
            representative_datasets: Samples to calibrate each model with, by the model's name; not
                needed for .tflite models.
            verbose: 0 is silence.
            **options: Further arguments of `respect_tf.convert`, for all models.

        Raises:
            ArgumentError: A model was given as a graph, data is for no model, or the plan has
                settled an option.
            RespectError: As for `respect_tf.convert`.
        """
        data = {} if representative_datasets is None else dict(representative_datasets)
        if unknown := [name for name in data if name not in self.rates]:
            raise ArgumentError(
                f"There is data for '{unknown[0]}', which is no model of the fleet. Models: "
                f"{', '.join(self.rates)}."
            )
        if settled := sorted({"device", "num_segments", "num_devices"} & set(options)):
            raise ArgumentError(f"{settled[0]} is settled by the plan. Make another plan.")
        graphs = [name for name, model in self._models.items() if isinstance(model, OpGraph)]
        if graphs:
            raise ArgumentError(
                f"'{graphs[0]}' was given as an OpGraph, which has no weights to convert. Expected "
                "a model or its path."
            )
        pipelines = {}
        for name in self.rates:
            group = self.group_of(name)
            shares = len(group.models) > 1
            pipelines[name] = convert(
                self._models[name],
                len(group.replicas),
                data.get(name),
                num_devices=1 if shares else group.num_devices,
                device=self.device,
                verbose=verbose,
                **options,
            )
        return FleetPipelines(self, pipelines)

    def __str__(self) -> str:
        return fleet_text(self)


@dataclasses.dataclass(frozen=True)
class FleetPipelines:
    """The pipelines of a fleet.

    Attributes:
        plan: What they were made for.
        pipelines: One per model.
    """

    plan: Fleet
    pipelines: dict[str, Pipeline]

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        verbose: Verbosity = "auto",
    ) -> Path:
        """Save each pipeline in a folder of its own inside a folder.

        Besides, `fleet.json` says which devices are whose, and `compile_fleet.sh` compiles models
        that share a device together.

        Args:
            folder: The outer folder; made where it is missing.
            overwrite: Whether saved pipelines in it may be replaced, see `Pipeline.save`.
            verbose: 0 is silence.

        Returns:
            The folder's absolute path.

        Raises:
            SavedPipelineError: As for `Pipeline.save`.
        """
        target = Path(folder)
        folders = {name: plain_name(name) for name in self.pipelines}
        if len(set(folders.values())) < len(folders):
            raise ArgumentError(
                f"The models {', '.join(folders)} would have folders of the same name. Call them "
                "by letters, digits, '-' and '_'."
            )
        for group in self.plan.groups:
            names = [self.pipelines[name].name for name in group.models]
            if len(set(names)) < len(names):
                raise ArgumentError(
                    f"The models {', '.join(group.models)} share a device and would be compiled "
                    f"into files of the same name, '{names[0]}'. Give each model a name of its own."
                )
        for name in self.pipelines:
            check_writable_target(target / folders[name], overwrite=overwrite)
        with progress(f"Saving {len(folders)} pipelines", verbose=verbose):
            for name, pipeline in self.pipelines.items():
                pipeline.save(target / folders[name], overwrite=overwrite, verbose=0)
            write_file(target / _COMPILE_FILE, _compile_script(self, folders).encode())
            write_file(target / _FLEET_FILE, _description(self.plan, folders).encode())
        return target.resolve()

    @contextlib.contextmanager
    def runners(
        self, device: Any = "auto", *, verbose: Verbosity = "auto"
    ) -> Iterator[dict[str, Any]]:
        """Start all pipelines, and close them at the end of the `with` block.

        Args:
            device: As for `Pipeline.runner`.
            verbose: 0 is silence.

        Returns:
            A runner per model, with `push` and `pop`.

        Raises:
            DeviceError: As for `Pipeline.runner`.
        """
        with contextlib.ExitStack() as stack:
            yield {
                name: stack.enter_context(pipeline.runner(device, verbose=verbose))
                for name, pipeline in self.pipelines.items()
            }


def plan_fleet(
    models: Mapping[str, Any],
    num_devices: int,
    rates: Mapping[str, float],
    *,
    device: DeviceLike = "usb3",
    aim: Aim = "devices",
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> Fleet:
    """Share Edge TPUs out among models, so that each gives as many results as are asked of it.

    A model may have devices of its own, as copies, a pipeline, or a pipeline with replicas, or
    share devices with other models, compiled together. Up to six models are looked at in every way
    to share; of more, the lightest are put together first.

    Args:
        models: By name: what `respect_tf.convert` takes, or graphs (`OpGraph`). Keras models of
            layers that are known need no data for a plan.
        num_devices: Number of Edge TPUs at most.
        rates: Inferences per second of each model.
        device: See `respect_tf.schedule`. Of several hosts, the first one's figures decide.
        aim: `"devices"`: every rate met with the fewest devices; `"load"`: what is busiest, of the
            devices, the bus and the host, as free as possible.
        custom_objects: See `respect_tf.convert`.
        trusted: See `respect_tf.convert`.
        seed: See `respect_tf.schedule`.
        verbose: 0 is silence.

    Returns:
        The plan; where the rates cannot be met, the one that comes nearest, and `is_met` is False.

    Raises:
        ArgumentError: There are no models or devices, or rates are missing, unknown or not above 0.
        RespectError: A model cannot be read.
    """
    if not isinstance(models, Mapping) or not all(isinstance(name, str) for name in models):
        raise ArgumentError(f"models must be {{name: model}}. Received: {type(models).__name__}.")
    graphs = {
        name: architecture_of(
            model, trained=True, custom_objects=custom_objects, trusted=trusted, verbose=verbose
        ).graph
        for name, model in models.items()
    }
    with progress(f"Planning for {len(graphs)} models", verbose=verbose):
        found = plan_fleet_of(graphs, num_devices, rates=rates, device=device, aim=aim, seed=seed)
    return Fleet(
        **{field.name: getattr(found, field.name) for field in dataclasses.fields(found)},
        graphs=graphs,
        _models=dict(models),
    )


def _description(plan: Fleet, folders: Mapping[str, str]) -> str:
    """`fleet.json`."""
    groups = [
        {"folders": [folders[name] for name in group.models], **group.to_dict()}
        for group in plan.groups
    ]
    whole = {"device": plan.device.name, "rates": plan.rates, "groups": groups}
    return json.dumps(whole, indent=2, ensure_ascii=True) + "\n"


def _compile_script(made: FleetPipelines, folders: Mapping[str, str]) -> str:
    """Compiles models that share a device in one call, in the order that was planned."""
    lines = [
        "#!/bin/sh",
        "# Compiles the models that share a device together, so that they share its memory.",
        "# Needs Google's edgetpu_compiler (x86-64 Linux). Models with devices of their own are",
        "# compiled by the compile.sh in their folders.",
        "set -eu",
        'cd "$(dirname "$0")"',
    ]
    for group in made.plan.groups:
        lines += _compile_group(group, made, folders)
    return "\n".join(lines) + "\n"


def _compile_group(
    group: FleetGroup, made: FleetPipelines, folders: Mapping[str, str]
) -> list[str]:
    if len(group.models) == 1:
        return [f"sh ./{folders[group.models[0]]}/compile.sh"]
    files = [
        f"./{folders[name]}/{segment.name}.tflite"
        for name in group.models
        for segment in made.pipelines[name].segments
    ]
    lines = [f"edgetpu_compiler -s -o . {' '.join(map(shlex.quote, files))}"]
    for name in group.models:
        for segment in made.pipelines[name].segments:
            compiled = shlex.quote(segment.compiled_file)
            lines.append(f"mv ./{compiled} ./{folders[name]}/")
    return lines
