"""Commands that schedule, cut and prove a .tflite model: `schedule`, `segment`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click

import respect_tf
from respect_tf._cli_common import (
    EXISTING,
    EXISTING_FILE,
    device_option,
    failing,
    json_option,
    no_verify_option,
    num_segments_option,
    objective_option,
    output_option,
    overwrite_option,
    print_json,
    quiet_option,
    save_pipeline,
    say,
    scheduler_option,
    seed_option,
    target_folder,
    time_limit_option,
    times_option,
)
from respect_tf._fields import FieldError, parse_json

_MOST_DEPTH = 8  # what 'respect-tf schedule --json' prints has a list in an object


@click.command()
@click.argument("model", type=EXISTING)
@num_segments_option
@scheduler_option
@objective_option
@device_option
@click.option("--stage-bytes", type=float, help="The most parameter bytes of any stage.")
@click.option("--pin", "pins", multiple=True, metavar="OP=STAGE", help="Stage of an op, by index.")
@click.option("--colocate-children", is_flag=True, help="Keep the readers of each op together.")
@times_option
@time_limit_option
@seed_option
@json_option
def schedule(
    model: Path,
    num_segments: int,
    scheduler: str,
    objective: str,
    device: Any,
    stage_bytes: float | None,
    pins: tuple[str, ...],
    colocate_children: bool,
    times: Path | None,
    time_limit: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Choose the stage of every op of MODEL, without cutting it.

    MODEL is a .tflite, .keras or .h5 file, a SavedModel or a saved pipeline. The JSON that --json
    prints for a .tflite file is what `respect-tf segment --schedule` reads.
    """
    from respect_tf._architecture import architecture_of
    from respect_tf.report import format_bytes, format_cost, table
    from respect_tf.run import measure_on_cpu
    from respect_tf.scheduling import Constraints

    with failing(as_json, f"Scheduling {model.name}"):
        constraints = Constraints(
            stage_bytes=stage_bytes,
            pinned=dict(map(_pin, pins)),
            colocate_children=colocate_children,
        )
        found = architecture_of(model, trained=True, verbose=0 if as_json else "auto")
        graph, measure = found.graph, cast("Any", times)
        if scheduler == "profile" and times is None:
            if found.origin != "tflite":
                raise click.UsageError(
                    "--scheduler profile measures a .tflite file. Give one, or --times."
                )
            measure = measure_on_cpu(model.read_bytes(), seed=seed)
        chosen = respect_tf.schedule(
            graph,
            num_segments,
            scheduler,
            objective=objective,
            device=device,
            constraints=constraints,
            time_limit=time_limit,
            seed=seed,
            measure=measure,
        )
        if as_json:
            print_json(
                {
                    "stages": chosen.stages.tolist(),
                    "num_stages": chosen.num_stages,
                    "cost": chosen.cost,
                    "lower_bound": chosen.lower_bound,
                    "gap": chosen.gap,
                    "status": chosen.status,
                    "objective": chosen.objective,
                    "device": None if chosen.device is None else chosen.device.name,
                    "optima": None if chosen.optima is None else list(chosen.optima),
                    "scheduler": chosen.scheduler,
                    "solve_seconds": chosen.solve_seconds,
                    "proposal_cost": chosen.proposal_cost,
                }
            )
            return
        rows = []
        for stage in range(chosen.num_stages):
            ops = (chosen.stages == stage).nonzero()[0]
            last = graph.op_names[ops[-1]].split(";")[0]
            size = format_bytes(int(graph.parameter_bytes[ops].sum()))
            rows.append([stage, len(ops), size, last])
        say(table(["stage", "ops", "parameters", "last op"], rows))
        relative = chosen.optima is not None
        cost, bound = (
            format_cost(value, chosen.objective, is_relative=relative)
            for value in (chosen.cost, chosen.lower_bound)
        )
        about = f"{chosen.objective}{', relative to each host at its best' if relative else ''}"
        say(
            f"\ncost {cost} ({about}), bound {bound}, gap {chosen.gap:.2%}, {chosen.status}, "
            f"{chosen.solve_seconds:.3f} s"
        )


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    help="Layer or tensor to cut after; once per cut, in order. Commas join parallel branches.",
)
@click.option(
    "--schedule",
    "schedule_file",
    type=EXISTING_FILE,
    help="JSON file with the stage of every op, as 'respect-tf schedule --json' prints it.",
)
@output_option
@device_option
@no_verify_option
@overwrite_option
@quiet_option
@json_option
def segment(
    model: Path,
    cuts: tuple[str, ...],
    schedule_file: Path | None,
    device: Any,
    output: Path | None,
    no_verify: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Cut MODEL, a .tflite file, where you say, and save the pipeline."""
    from respect_tf._convert import segment_at

    if bool(cuts) == (schedule_file is not None):
        raise click.UsageError("Give either --cut (once per cut) or --schedule.")
    with failing(as_json, f"Cutting {model.name}", quiet=quiet):
        folder = target_folder(model, output, overwrite=overwrite)
        pipeline = segment_at(
            model,
            stages=None if schedule_file is None else _stages(schedule_file),
            cuts=[cut.split(",") for cut in cuts] or None,
            device=device,
            verify=not no_verify,
            verbose=0 if quiet else "auto",
        )
        save_pipeline(pipeline, folder, overwrite=overwrite, quiet=quiet, as_json=as_json)


@click.command()
@click.argument("folder", type=EXISTING)
@seed_option
@json_option
def verify(folder: Path, seed: int, as_json: bool) -> None:
    """Prove again that the segments in FOLDER compute what the whole model computes."""
    with failing(as_json, f"Proving {folder.name}"):
        pipeline = respect_tf.load(folder)
        parity = pipeline.verify(seed=seed)
        if as_json:
            print_json(
                {
                    "parity": "bit-exact",
                    "num_inputs": parity.num_inputs,
                    "num_tensors": parity.num_tensors,
                    "num_bytes": parity.num_bytes,
                }
            )
        else:
            say(
                f"bit-exact: {parity.num_tensors} tensors, {parity.num_inputs} inputs, "
                f"{parity.num_bytes:,} bytes compared"
            )


def _pin(text: str) -> tuple[int, int]:
    """An op and its stage, from OP=STAGE."""
    op, _, stage = text.partition("=")
    try:
        return int(op), int(stage)
    except ValueError:
        raise click.BadParameter(
            f"--pin takes an op and a stage, as in --pin 12=0. Received: {text!r}."
        ) from None


def _stages(path: Path) -> list[int]:
    try:
        content = parse_json(path.read_bytes(), max_depth=_MOST_DEPTH)
    except (OSError, FieldError) as error:
        raise click.BadParameter(f"'{path}' is no JSON file of stages: {error}") from error
    stages = content.get("stages") if isinstance(content, dict) else content
    if not isinstance(stages, list):
        raise click.BadParameter(
            f"'{path}' holds no list of stages. Expected {{\"stages\": [...]}}."
        )
    return stages
