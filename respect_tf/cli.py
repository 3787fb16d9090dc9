"""The command line: `respect-tf convert | schedule | segment | verify | inspect | doctor`.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
2 wrong usage.
"""

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

_EXISTING = click.Path(exists=True, path_type=Path)
_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FOLDER = click.Path(file_okay=False, path_type=Path)

_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace a saved pipeline.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
_num_segments = click.option(
    "-n",
    "--num-segments",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stages of the pipeline, one per Edge TPU.",
)
_scheduler = click.option(
    "--scheduler",
    type=click.Choice(["exact", "milp", "slicing", "compiler"]),
    default="exact",
    show_default=True,
    help="What chooses the cut.",
)
_time_limit = click.option(
    "--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds for the scheduler."
)
_seed = click.option("--seed", type=int, default=0, show_default=True)
_no_verify = click.option("--no-verify", is_flag=True, help="Do not prove the segments.")
_output = click.option(
    "-o", "--output", type=_NEW_FOLDER, help="Folder to make. Default: NAME_pipeline."
)
_STORED_TYPE = click.Choice(["int8", "uint8", "float32"])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(respect_tf.__version__, prog_name="respect-tf")
def main() -> None:
    """Cut models into verified int8 pipelines for several Coral Edge TPUs."""


@main.command()
@click.argument("model", type=_EXISTING)
@_num_segments
@click.option(
    "-r",
    "--representative-data",
    type=_EXISTING_FILE,
    help="Samples to calibrate with: .npy [num_samples, ...], or .npz with one array per input.",
)
@_output
@_scheduler
@_time_limit
@click.option("--input-type", type=_STORED_TYPE, default="int8", show_default=True)
@click.option("--output-type", type=_STORED_TYPE, default="int8", show_default=True)
@click.option("--no-strict", is_flag=True, help="Accept tensors that are not 8 bit.")
@_no_verify
@_seed
@_overwrite
@_quiet
@_json
def convert(
    model: Path,
    num_segments: int,
    representative_data: Path | None,
    output: Path | None,
    scheduler: str,
    time_limit: float | None,
    input_type: Any,
    output_type: Any,
    no_strict: bool,
    no_verify: bool,
    seed: int,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a pipeline of MODEL: a .keras, .h5 or .tflite file, or a SavedModel folder."""
    with _failing(as_json):
        folder = _target(model, output, overwrite=overwrite)
        pipeline = respect_tf.convert(
            model,
            num_segments,
            None if representative_data is None else _arrays(representative_data),
            scheduler=scheduler,
            inference_input_type=input_type,
            inference_output_type=output_type,
            strict=not no_strict,
            verify=not no_verify,
            time_limit=time_limit,
            seed=seed,
            verbose=0 if quiet else "auto",
        )
        _save(pipeline, folder, overwrite=overwrite, quiet=quiet, as_json=as_json)


@main.command()
@click.argument("model", type=_EXISTING_FILE)
@_num_segments
@_scheduler
@_time_limit
@_seed
@_json
def schedule(
    model: Path,
    num_segments: int,
    scheduler: str,
    time_limit: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Choose the stage of every op of MODEL, a .tflite file, without cutting it.

    The JSON that --json prints is what `respect-tf segment --schedule` reads.
    """
    from respect_tf.report import format_bytes, table

    with _failing(as_json):
        graph = respect_tf.OpGraph.from_tflite(model)
        chosen = respect_tf.schedule(
            graph, num_segments, scheduler, time_limit=time_limit, seed=seed
        )
        if as_json:
            _print_json(
                {
                    "stages": chosen.stages.tolist(),
                    "num_stages": chosen.num_stages,
                    "cost": chosen.cost,
                    "lower_bound": chosen.lower_bound,
                    "gap": chosen.gap,
                    "status": chosen.status,
                    "objective": chosen.objective,
                    "scheduler": chosen.scheduler,
                    "solve_seconds": chosen.solve_seconds,
                }
            )
            return
        rows = []
        for stage in range(chosen.num_stages):
            ops = (chosen.stages == stage).nonzero()[0]
            last = graph.op_names[ops[-1]].split(";")[0]
            size = format_bytes(int(graph.parameter_bytes[ops].sum()))
            rows.append([stage, len(ops), size, last])
        click.echo(table(["stage", "ops", "parameters", "last op"], rows))
        click.echo(
            f"\ncost {chosen.cost:,.15g} ({chosen.objective}), bound {chosen.lower_bound:,.15g}, "
            f"gap {chosen.gap:.2%}, {chosen.status}, {chosen.solve_seconds:.3f} s"
        )


@main.command()
@click.argument("model", type=_EXISTING_FILE)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    help="Layer or tensor to cut after; once per cut, in order. Commas join parallel branches.",
)
@click.option(
    "--schedule",
    "schedule_file",
    type=_EXISTING_FILE,
    help="JSON file with the stage of every op, as 'respect-tf schedule --json' prints it.",
)
@_output
@_no_verify
@_overwrite
@_quiet
@_json
def segment(
    model: Path,
    cuts: tuple[str, ...],
    schedule_file: Path | None,
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
    with _failing(as_json):
        folder = _target(model, output, overwrite=overwrite)
        pipeline = segment_at(
            model,
            stages=None if schedule_file is None else _stages(schedule_file),
            cuts=[cut.split(",") for cut in cuts] or None,
            verify=not no_verify,
            verbose=0 if quiet else "auto",
        )
        _save(pipeline, folder, overwrite=overwrite, quiet=quiet, as_json=as_json)


@main.command()
@click.argument("folder", type=_EXISTING)
@_seed
@_json
def verify(folder: Path, seed: int, as_json: bool) -> None:
    """Prove again that the segments in FOLDER compute what the whole model computes."""
    with _failing(as_json):
        pipeline = respect_tf.load(folder)
        parity = pipeline.verify(seed=seed)
        if as_json:
            _print_json(
                {
                    "parity": "bit-exact",
                    "num_inputs": parity.num_inputs,
                    "num_tensors": parity.num_tensors,
                    "num_bytes": parity.num_bytes,
                }
            )
        else:
            click.echo(
                f"bit-exact: {parity.num_tensors} tensors, {parity.num_inputs} inputs, "
                f"{parity.num_bytes:,} bytes compared"
            )


@main.command()
@click.argument("model", type=_EXISTING_FILE)
@_json
def inspect(model: Path, as_json: bool) -> None:
    """Say what is in MODEL, a .tflite file."""
    with _failing(as_json):
        found = respect_tf.inspect(model)
        if as_json:
            _print_json(found.to_dict())
        else:
            click.echo(str(found))


@main.command()
@_json
def doctor(as_json: bool) -> None:
    """Check that everything needed is installed, and say what is optional and missing."""
    from respect_tf.report import examine_installation, table

    with _failing(as_json):
        findings = examine_installation()
        if as_json:
            _print_json([finding.to_dict() for finding in findings])
        else:
            rows = [[f.name, f.status, f.found, f.remedy] for f in findings]
            click.echo(table(["", "status", "found", "remedy"], rows))
        if any(finding.status == "missing" for finding in findings):
            sys.exit(1)


@contextlib.contextmanager
def _failing(as_json: bool) -> Iterator[None]:
    """Turn this package's errors into a message and exit code 1."""
    try:
        yield
    except RespectError as error:
        if as_json:
            _print_json({"error": {"type": type(error).__name__, "message": str(error)}})
        else:
            click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _target(model: Path, output: Path | None, *, overwrite: bool) -> Path:
    """The folder to make, checked before the long part."""
    from respect_tf._folder import check_writable_target

    folder = output or Path(f"{model.resolve().stem}_pipeline")
    check_writable_target(folder, overwrite=overwrite)
    return folder


def _save(
    pipeline: respect_tf.Pipeline, folder: Path, *, overwrite: bool, quiet: bool, as_json: bool
) -> None:
    saved = pipeline.save(folder, overwrite=overwrite, verbose=0 if quiet else "auto")
    if as_json:
        _print_json({"folder": str(saved), **pipeline.report.to_dict()})
    else:
        click.echo(f"{pipeline.report}\nsaved to {saved}")


def _arrays(path: Path) -> Any:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise click.BadParameter(f"'{path}' is no .npy or .npz file of numbers: {error}") from error
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _stages(path: Path) -> list[int]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise click.BadParameter(f"'{path}' is no JSON file: {error}") from error
    stages = content.get("stages") if isinstance(content, dict) else content
    if not isinstance(stages, list):
        raise click.BadParameter(
            f"'{path}' holds no list of stages. Expected {{\"stages\": [...]}}."
        )
    return stages


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
