"""The command line, `respect-tf convert` and so on: `respect-tf --help` lists all commands.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
2 wrong usage.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
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
_objective = click.option(
    "--objective",
    type=click.Choice(["throughput", "latency", "memory"]),
    default="throughput",
    show_default=True,
    help="What the cut minimises: ms per inference, ms from end to end, or peak bytes.",
)
_device = click.option(
    "--device",
    default="usb3",
    show_default=True,
    help="usb3, usb2, pcie, or a .json file that 'respect-tf calibrate' wrote.",
)
_time_limit = click.option(
    "--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds for the scheduler."
)
_seed = click.option("--seed", type=int, default=0, show_default=True)
_no_verify = click.option("--no-verify", is_flag=True, help="Do not prove the segments.")
_output = click.option(
    "-o", "--output", type=_NEW_FOLDER, help="Folder to make. Default: NAME_pipeline."
)
_COMPILE_MODES: dict[str, Any] = {"auto": "auto", "yes": True, "no": False}
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
@_objective
@_device
@_time_limit
@click.option("--input-type", type=_STORED_TYPE, default="int8", show_default=True)
@click.option("--output-type", type=_STORED_TYPE, default="int8", show_default=True)
@click.option(
    "--compile",
    "compile_mode",
    type=click.Choice(list(_COMPILE_MODES)),
    default="auto",
    show_default=True,
    help="Compile the segments: if edgetpu_compiler is found; or fail; or leave it.",
)
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
    objective: str,
    device: str,
    time_limit: float | None,
    input_type: Any,
    output_type: Any,
    compile_mode: str,
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
            objective=objective,
            device=device,
            inference_input_type=input_type,
            inference_output_type=output_type,
            compile=_COMPILE_MODES[compile_mode],
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
@_objective
@_device
@click.option("--stage-bytes", type=float, help="The most parameter bytes of any stage.")
@click.option("--pin", "pins", multiple=True, metavar="OP=STAGE", help="Stage of an op, by index.")
@click.option("--colocate-children", is_flag=True, help="Keep the readers of each op together.")
@_time_limit
@_seed
@_json
def schedule(
    model: Path,
    num_segments: int,
    scheduler: str,
    objective: str,
    device: str,
    stage_bytes: float | None,
    pins: tuple[str, ...],
    colocate_children: bool,
    time_limit: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Choose the stage of every op of MODEL, a .tflite file, without cutting it.

    The JSON that --json prints is what `respect-tf segment --schedule` reads.
    """
    from respect_tf.report import format_bytes, format_cost, table
    from respect_tf.schedule import Constraints

    with _failing(as_json):
        constraints = Constraints(
            stage_bytes=stage_bytes,
            pinned=dict(map(_pin, pins)),
            colocate_children=colocate_children,
        )
        graph = respect_tf.OpGraph.from_tflite(model)
        chosen = respect_tf.schedule(
            graph,
            num_segments,
            scheduler,
            objective=objective,
            device=device,
            constraints=constraints,
            time_limit=time_limit,
            seed=seed,
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
                    "device": None if chosen.device is None else chosen.device.name,
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
            f"\ncost {format_cost(chosen.cost, chosen.objective)} ({chosen.objective}), bound "
            f"{format_cost(chosen.lower_bound, chosen.objective)}, gap {chosen.gap:.2%}, "
            f"{chosen.status}, {chosen.solve_seconds:.3f} s"
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
@_device
@_no_verify
@_overwrite
@_quiet
@_json
def segment(
    model: Path,
    cuts: tuple[str, ...],
    schedule_file: Path | None,
    device: str,
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
            device=device,
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


@main.command("compile")
@click.argument("folder", type=_EXISTING)
@click.option(
    "--compiler",
    help="The program edgetpu_compiler. Default: what EDGETPU_COMPILER names, or the one in PATH.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=180.0,
    show_default=True,
    help="Seconds for each attempt to compile a segment.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Further attempts after internal errors of the compiler, which come and go.",
)
@_quiet
@_json
def compile_(
    folder: Path,
    compiler: str | None,
    timeout: float,
    retries: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compile the segments in FOLDER that are not compiled yet, with Google's edgetpu_compiler.

    Models that the folder's compile.sh compiled elsewhere are checked and taken as they are.
    """
    from respect_tf._compile_folder import compile_folder
    from respect_tf.report import compilation_table

    with _failing(as_json):
        pipeline, compilation = compile_folder(
            folder, compiler, timeout=timeout, retries=retries, verbose=0 if quiet else "auto"
        )
        if as_json:
            done = None if compilation is None else compilation.to_dict()
            _print_json({"folder": str(folder.resolve()), "compilation": done})
        else:
            click.echo(compilation_table(pipeline.segments))


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
@click.argument("measurements", type=_EXISTING_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the constants to, NAME.json: what --device takes.",
)
@_device
@_json
def calibrate(measurements: Path, output: Path | None, device: str, as_json: bool) -> None:
    """Fit a device's times to MEASUREMENTS, a CSV file, starting from --device.

    Its columns: `ms`, and `model` (path of an uncompiled .tflite segment) or `macs`,
    `cached_bytes`, `streamed_bytes`, `input_bytes` and `output_bytes`.
    """
    with _failing(as_json):
        found = respect_tf.calibrate(measurements, device)
        if output is not None:
            found.device.save(output)
        if as_json:
            _print_json(
                {
                    "num_measurements": len(found.measured_ms),
                    "error_before": found.error_before,
                    "error_after": found.error_after,
                    "error_left_out": found.error_left_out,
                    "changes": {name: [old, new] for name, old, new in found.changes},
                    "file": None if output is None else str(output),
                }
            )
        else:
            click.echo(str(found))
            if output is not None:
                click.echo(f"saved to {output}; use it as --device {output}")


@main.command()
@click.argument("folder", type=_EXISTING)
@click.argument("samples", type=_EXISTING_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where results go: .npy, or .npz with one array per output.",
)
@click.option(
    "--on",
    "device",
    type=click.Choice(["auto", "cpu", "edgetpu"]),
    default="auto",
    show_default=True,
    help="Edge TPUs where everything they need is there, or the CPU.",
)
@click.option("--edge-tpus", help="One per segment, as in usb:0,usb:1 or pci:0,pci:1.")
@_quiet
@_json
def run(
    folder: Path,
    samples: Path,
    output: Path | None,
    device: Any,
    edge_tpus: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Send SAMPLES through the pipeline in FOLDER.

    SAMPLES is an .npy file [num_samples, ...], or an .npz file with one array per input. Where
    respect_tf is not installed, run_pipeline.py in FOLDER does the same.
    """
    from respect_tf.report import table
    from respect_tf.run import CpuRunner

    with _failing(as_json):
        pipeline = respect_tf.load(folder)
        devices = None if edge_tpus is None else edge_tpus.split(",")
        with pipeline.runner(device, devices=devices, verbose=0 if quiet else "auto") as runner:
            started = time.perf_counter()
            results = pipeline.predict(_arrays(samples), runner=runner)
            seconds = time.perf_counter() - started
            on_cpu = isinstance(runner, CpuRunner)
            statistics = runner.statistics() if isinstance(runner, CpuRunner) else ()
        by_name = results if isinstance(results, dict) else dict.fromkeys(pipeline.outputs, results)
        if output is not None:
            _save_arrays(output, by_name)
        count = len(next(iter(by_name.values())))
        if as_json:
            _print_json(
                {
                    "on": "cpu" if on_cpu else "edgetpu",
                    "num_samples": count,
                    "seconds": seconds,
                    "segment_ms": [one.mean_ms for one in statistics],
                    "outputs": {
                        name: {"dtype": values.dtype.name, "shape": list(values.shape)}
                        for name, values in by_name.items()
                    },
                    "file": None if output is None else str(output),
                }
            )
            return
        for name, values in by_name.items():
            click.echo(
                f"{name}: {values.dtype.name} {list(values.shape)}, mean {values.mean():.6g}"
            )
        rows = [[index, f"{one.mean_ms:.3f}"] for index, one in enumerate(statistics)]
        if rows:
            click.echo(table(["segment", "ms on this CPU"], rows))
        click.echo(f"{count} samples in {seconds:.3f} s, {count / seconds:.4g} per second")


@main.command()
@click.argument("folder", type=_EXISTING)
@click.option("--inputs", "num_inputs", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--device",
    help="usb3, usb2, pcie, or a .json file that 'respect-tf calibrate' wrote. Default: the one "
    "that the pipeline was made for.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Inputs per second. Default: as many as go through.",
)
@click.option("--poisson", is_flag=True, help="Inputs come at random, at that rate on average.")
@click.option("--input-queue", type=click.IntRange(min=1), help="Inputs that may wait.")
@click.option("--inner-queue", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--output-queue", type=click.IntRange(min=1), help="Results that may wait.")
@_seed
@_json
def simulate(
    folder: Path,
    num_inputs: int,
    device: str | None,
    rate: float | None,
    poisson: bool,
    input_queue: int | None,
    inner_queue: int,
    output_queue: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate the pipeline in FOLDER on the Edge TPUs that the device model predicts."""
    with _failing(as_json):
        found = respect_tf.load(folder).simulate(
            num_inputs,
            device=device,
            arrival_rate=rate,
            arrivals="poisson" if poisson else "regular",
            input_queue_size=input_queue,
            inner_queue_size=inner_queue,
            output_queue_size=output_queue,
            seed=seed,
        )
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


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
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
