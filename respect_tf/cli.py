"""The command line, `respect-tf convert` and so on: `respect-tf --help` lists all commands.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
2 wrong usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import respect_tf
from respect_tf import _cli_cut, _cli_device, _cli_fleet, _cli_plan, _cli_policy, _cli_sweep
from respect_tf._cli_arrays import read_arrays
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
    objective_option,
    output_option,
    overwrite_option,
    quiet_option,
    save_pipeline,
    scheduler_option,
    seed_option,
    target_folder,
    time_limit_option,
    times_option,
)

_COMPILE_MODES: dict[str, Any] = {"auto": "auto", "yes": True, "no": False}
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
    "--input-shape",
    metavar="SIZES",
    help="Sizes of an input that leaves some open, without the batch: 224,224,3 and so on.",
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
@click.option(
    "--no-strict",
    is_flag=True,
    help="Accept ops that no Edge TPU takes, without a CPU stage for them.",
)
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
    input_shape: str | None,
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
    with failing(as_json, f"Converting {model.name}", quiet=quiet):
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
            input_shape=_sizes(input_shape),
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


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"--input-shape takes sizes separated by commas. Received: {text!r}."
        ) from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"'{path}' is no text in UTF-8: {error}") from error


_POLICY_COMMANDS = (_cli_policy.labels, _cli_policy.train, _cli_policy.evaluate)
_PLANS = (_cli_plan.plan, _cli_fleet.fleet, _cli_sweep.sweep)
_CUTS = (_cli_cut.schedule, _cli_cut.segment, _cli_cut.verify)
for _command in (*_CUTS, *_PLANS, *_cli_device.COMMANDS, *_POLICY_COMMANDS):
    main.add_command(_command)


if __name__ == "__main__":
    main()
