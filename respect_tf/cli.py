"""The command line, `respect-tf convert` and so on: `respect-tf --help` lists all commands.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
2 wrong usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click

import respect_tf
from respect_tf import _cli_device, _cli_fleet, _cli_plan, _cli_policy, _cli_sweep
from respect_tf._cli_common import (
    EXISTING,
    EXISTING_FILE,
    CarefulGroup,
    auto_segments_option,
    device_option,
    failing,
    json_option,
    no_verify_option,
    num_devices_option,
    num_segments_option,
    objective_option,
    output_option,
    overwrite_option,
    print_json,
    quiet_option,
    read_arrays,
    save_pipeline,
    say,
    scheduler_option,
    seed_option,
    target_folder,
    time_limit_option,
    times_option,
)
from respect_tf._fields import FieldError, parse_json

_COMPILE_MODES: dict[str, Any] = {"auto": "auto", "yes": True, "no": False}
_MOST_DEPTH = 8  # what 'respect-tf schedule --json' prints has a list in an object
_STORED_TYPE = click.Choice(["int8", "uint8", "float32"])


@click.group(cls=CarefulGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(respect_tf.__version__, prog_name="respect-tf")
def main() -> None:
    """Cut models into verified int8 pipelines for several Coral Edge TPUs."""


@main.command()
@click.argument("model", type=EXISTING)
@auto_segments_option
@num_devices_option
@click.option(
    "-r",
    "--representative-data",
    type=EXISTING_FILE,
    help="Samples to calibrate with: .npy [num_samples, ...], or .npz with one array per input.",
)
@output_option
@scheduler_option
@objective_option
@device_option
@time_limit_option
@click.option(
    "--rewrite",
    type=click.Choice(["safe", "all", "off"]),
    default="safe",
    show_default=True,
    help="Rewrite ops that an Edge TPU does not run: into equal forms; also into approximations; "
    "not at all.",
)
@click.option(
    "--input-type", type=_STORED_TYPE, default="int8", show_default=True, help="Type of inputs."
)
@click.option(
    "--output-type", type=_STORED_TYPE, default="int8", show_default=True, help="Type of outputs."
)
@click.option(
    "--compile",
    "compile_mode",
    type=click.Choice(list(_COMPILE_MODES)),
    default="auto",
    show_default=True,
    help="Compile the segments: if edgetpu_compiler is found; or fail; or leave it.",
)
@times_option
@click.option(
    "--mean",
    help="What users subtract from raw inputs, for the metadata: a number, or R,G,B and so on.",
)
@click.option("--std", help="What they divide them by then, likewise.")
@click.option(
    "--labels", type=EXISTING_FILE, help="Text file with the name of a class per line, likewise."
)
@click.option(
    "--trusted",
    is_flag=True,
    help="Let MODEL run code of its own: Lambda layers, classes of any module it names.",
)
@click.option("--no-strict", is_flag=True, help="Accept tensors that are not 8 bit.")
@no_verify_option
@seed_option
@overwrite_option
@quiet_option
@json_option
def convert(
    model: Path,
    num_segments: Any,
    num_devices: Any,
    representative_data: Path | None,
    output: Path | None,
    scheduler: str,
    objective: str,
    device: Any,
    time_limit: float | None,
    rewrite: Any,
    input_type: Any,
    output_type: Any,
    compile_mode: str,
    times: Path | None,
    mean: str | None,
    std: str | None,
    labels: Path | None,
    trusted: bool,
    no_strict: bool,
    no_verify: bool,
    seed: int,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a pipeline of MODEL: a .keras, .h5 or .tflite file, or a SavedModel folder."""
    with failing(as_json):
        folder = target_folder(model, output, overwrite=overwrite)
        pipeline = respect_tf.convert(
            model,
            num_segments,
            None if representative_data is None else read_arrays(representative_data),
            num_devices=num_devices,
            scheduler=scheduler,
            objective=objective,
            device=device,
            rewrite=rewrite,
            inference_input_type=input_type,
            inference_output_type=output_type,
            compile=_COMPILE_MODES[compile_mode],
            # Left out, a given .tflite model keeps its own.
            metadata=None
            if (mean, std, labels) == (None, None, None)
            else respect_tf.Metadata(
                mean=_numbers("--mean", mean),
                std=_numbers("--std", std),
                labels=None if labels is None else _lines(labels),
            ),
            trusted=trusted,
            strict=not no_strict,
            verify=not no_verify,
            time_limit=time_limit,
            measure=times,
            seed=seed,
            verbose=0 if quiet else "auto",
        )
        save_pipeline(pipeline, folder, overwrite=overwrite, quiet=quiet, as_json=as_json)


@main.command()
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

    with failing(as_json):
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


@main.command()
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
    with failing(as_json):
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


@main.command()
@click.argument("folder", type=EXISTING)
@seed_option
@json_option
def verify(folder: Path, seed: int, as_json: bool) -> None:
    """Prove again that the segments in FOLDER compute what the whole model computes."""
    with failing(as_json):
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


def _numbers(option: str, text: str | None) -> list[float] | None:
    """Numbers separated by commas."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{option} takes numbers separated by commas. Received: {text!r}."
        ) from None


def _pin(text: str) -> tuple[int, int]:
    """An op and its stage, from OP=STAGE."""
    op, _, stage = text.partition("=")
    try:
        return int(op), int(stage)
    except ValueError:
        raise click.BadParameter(
            f"--pin takes an op and a stage, as in --pin 12=0. Received: {text!r}."
        ) from None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"'{path}' is no text in UTF-8: {error}") from error


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


_POLICY_COMMANDS = (_cli_policy.labels, _cli_policy.train, _cli_policy.evaluate)
_PLANS = (_cli_plan.plan, _cli_fleet.fleet, _cli_sweep.sweep)
for _command in (*_PLANS, *_cli_device.COMMANDS, *_POLICY_COMMANDS):
    main.add_command(_command)


if __name__ == "__main__":
    main()
