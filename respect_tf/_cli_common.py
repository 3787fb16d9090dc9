"""What the commands of the command line share: options, files in and out, errors."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import respect_tf
from respect_tf._errors import RespectError

EXISTING = click.Path(exists=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)

SCHEDULERS = (
    "policy",
    "policy-greedy",
    "policy+milp",
    "exact",
    "milp",
    "slicing",
    "compiler",
    "profile",
)
"""Those of `respect_tf.schedule`, named here so that `--help` does not load it."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a saved pipeline.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
num_segments_option = click.option(
    "-n",
    "--num-segments",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stages of the pipeline, one per Edge TPU.",
)
scheduler_option = click.option(
    "--scheduler",
    type=click.Choice(SCHEDULERS),
    default="policy",
    show_default=True,
    help="What chooses the cut.",
)
objective_option = click.option(
    "--objective",
    type=click.Choice(["throughput", "latency", "memory"]),
    default="throughput",
    show_default=True,
    help="What the cut minimises: ms per inference, ms from end to end, or peak bytes.",
)
times_option = click.option(
    "--times",
    type=EXISTING_FILE,
    help="For --scheduler profile: times that run_pipeline.py --benchmark measured on the device. "
    "Default: segments are measured on this CPU.",
)
DEVICE_HELP = (
    "A host that 'respect-tf devices' lists; usb3, usb2 or pcie for all hosts of that link; or a "
    ".json file that 'respect-tf calibrate' wrote. May be given several times."
)


def one_or_several(context: Any, parameter: Any, value: tuple[str, ...]) -> Any:
    """A `--device` as `device=` takes it: a name, a list of names, or None."""
    del context, parameter
    return list(value) if len(value) > 1 else next(iter(value), None)


device_option = click.option(
    "--device",
    default=("usb3",),
    multiple=True,
    show_default="usb3",
    callback=one_or_several,
    help=DEVICE_HELP,
)
time_limit_option = click.option(
    "--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds for the scheduler."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True)
no_verify_option = click.option("--no-verify", is_flag=True, help="Do not prove the segments.")
output_option = click.option(
    "-o", "--output", type=NEW_FOLDER, help="Folder to make. Default: NAME_pipeline."
)


@contextlib.contextmanager
def failing(as_json: bool) -> Iterator[None]:
    """Turn this package's errors into a message and exit code 1."""
    try:
        yield
    except RespectError as error:
        if as_json:
            print_json({"error": {"type": type(error).__name__, "message": str(error)}})
        else:
            click.echo(f"error: {error}", err=True)
        sys.exit(1)


def target_folder(model: Path, output: Path | None, *, overwrite: bool) -> Path:
    """The folder to make, checked before the long part."""
    from respect_tf._folder import check_writable_target

    folder = output or Path(f"{model.resolve().stem}_pipeline")
    check_writable_target(folder, overwrite=overwrite)
    return folder


def save_pipeline(
    pipeline: respect_tf.Pipeline, folder: Path, *, overwrite: bool, quiet: bool, as_json: bool
) -> None:
    saved = pipeline.save(folder, overwrite=overwrite, verbose=0 if quiet else "auto")
    if as_json:
        print_json({"folder": str(saved), **pipeline.report.to_dict()})
    else:
        click.echo(f"{pipeline.report}\nsaved to {saved}")


def read_arrays(path: Path) -> Any:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise click.BadParameter(f"'{path}' is no .npy or .npz file of numbers: {error}") from error
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy" and len(arrays) == 1:
        np.save(path, next(iter(arrays.values())))
    else:
        raise click.BadParameter(
            f"The pipeline has the outputs {', '.join(arrays)}. Expected a file named .npz"
            f"{' or .npy' if len(arrays) == 1 else ''}. Received: '{path}'."
        )


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False))
