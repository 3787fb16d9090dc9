"""The command that says how many Edge TPUs a model is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import respect_tf
from respect_tf._cli_common import (
    EXISTING,
    device_option,
    failing,
    json_option,
    objective_option,
    planned_devices_option,
    print_json,
    quiet_option,
    say,
    time_limit_option,
)


@click.command()
@click.argument("model", type=EXISTING)
@planned_devices_option
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Frames per second that are wanted: says how many Edge TPUs give them.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to draw frames per second into: .png, .svg or .pdf.",
)
@objective_option
@device_option
@time_limit_option
@quiet_option
@json_option
def plan(
    model: Path,
    num_devices: Any,
    fps: float | None,
    plot: Path | None,
    objective: str,
    device: Any,
    time_limit: float | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say what MODEL gains from 1, 2, ... Edge TPUs, and how to use them best."""
    with failing(as_json, f"Planning for {model.name}", quiet=quiet):
        found = respect_tf.plan(
            model,
            num_devices,
            device=device,
            objective=objective,
            time_limit=time_limit,
            verbose=0 if quiet else "auto",
        )
        if plot is not None:
            found.plot(path=plot)
        enough = None if fps is None else found.devices_for(fps)
        if as_json:
            wanted = {} if fps is None else {"wanted": {"fps": fps, "num_devices": enough}}
            print_json(found.to_dict() | wanted)
            return
        say(str(found))
        if fps is not None:
            count = f"more than {found.num_devices}" if enough is None else str(enough)
            say(f"{fps:g} frames/s take {count} Edge TPU(s).")
