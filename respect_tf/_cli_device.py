"""Commands about Edge TPUs: compiling, inspecting, calibrating, running, simulating."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

import respect_tf
from respect_tf._cli_arrays import read_arrays, save_arrays
from respect_tf._cli_common import (
    DEVICE_HELP,
    EXISTING,
    EXISTING_FILE,
    failing,
    json_option,
    one_or_several,
    print_json,
    quiet_option,
    say,
    seed_option,
)


@click.command("compile")
@click.argument("folder", type=EXISTING)
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
@quiet_option
@json_option
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

    with failing(as_json, f"Compiling {folder.name}", quiet=quiet):
        pipeline, compilation = compile_folder(
            folder, compiler, timeout=timeout, retries=retries, verbose=0 if quiet else "auto"
        )
        if as_json:
            done = None if compilation is None else compilation.to_dict()
            print_json({"folder": str(folder.resolve()), "compilation": done})
        else:
            say(compilation_table(pipeline.segments))


@click.command()
@click.argument("model", type=EXISTING)
@click.option(
    "--trusted",
    is_flag=True,
    help="Let MODEL run code of its own: Lambda layers, classes of any module it names.",
)
@json_option
def inspect(model: Path, trusted: bool, as_json: bool) -> None:
    """Say what is in MODEL: a .tflite file, compiled or not, or a saved pipeline.

    Of a .keras or .h5 file or a SavedModel folder, say what converting it will give: what will
    map, what will be rewritten, what stays on the CPU, what stops the compiler.
    """
    with failing(as_json, f"Inspecting {model.name}"):
        found = respect_tf.inspect(model, trusted=trusted)
        if as_json:
            print_json(found.to_dict())
        else:
            say(str(found))


@click.command()
@click.argument("measurements", type=EXISTING_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the constants to, NAME.json: what --device takes.",
)
@click.option(
    "--device",
    metavar="NAME",
    multiple=True,
    callback=one_or_several,
    help=f"Where to start. {DEVICE_HELP}",
)
@json_option
def calibrate(measurements: Path, output: Path | None, device: Any, as_json: bool) -> None:
    """Fit a device's times to MEASUREMENTS, a CSV file, starting from a host that is known.

    Its columns: `ms`, and `model` (path of an uncompiled .tflite segment) or `macs`,
    `cached_bytes`, `streamed_bytes`, `input_bytes` and `output_bytes`.
    """
    with failing(as_json, f"Calibrating with {measurements.name}"):
        found = respect_tf.calibrate(measurements, device)
        if output is not None:
            found.device.save(output)
        if as_json:
            print_json(found.to_dict() | {"file": None if output is None else str(output)})
        else:
            say(str(found))
            if output is not None:
                say(f"saved to {output}; use it as --device {output}")


def _whole_numbers(context: Any, parameter: Any, value: str | None) -> list[int] | None:
    """The numbers of an option like 2,1,1."""
    words = [] if value is None else value.split(",")
    if not all(word.isdecimal() and len(word) < 6 for word in words):
        raise click.BadParameter(f"expected numbers as in 2,1,1, received {value!r}")
    return None if value is None else [int(word) for word in words]


@click.command()
@click.argument("folder", type=EXISTING)
@click.argument("samples", type=EXISTING_FILE)
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
@click.option("--edge-tpus", help="One per segment and replica, as in usb:0,usb:1 or pci:0,pci:1.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "litert", "tflite", "tensorflow", "pycoral", "cpu"]),
    default="auto",
    show_default=True,
    help="What runs segments on Edge TPUs.",
)
@click.option(
    "--replicas",
    callback=_whole_numbers,
    help="Devices of each segment, as in 2,1,1. Default: the pipeline's.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that one inference of a segment may take.",
)
@quiet_option
@json_option
def run(
    folder: Path,
    samples: Path,
    output: Path | None,
    device: Any,
    edge_tpus: str | None,
    backend: Any,
    replicas: list[int] | None,
    timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Send SAMPLES through the pipeline in FOLDER.

    SAMPLES is an .npy file [num_samples, ...], or an .npz file with one array per input. Where
    respect_tf is not installed, run_pipeline.py in FOLDER does the same.
    """
    from respect_tf.report import table

    with failing(as_json, f"Running {folder.name}", quiet=quiet):
        pipeline = respect_tf.load(folder)
        devices = None if edge_tpus is None else edge_tpus.split(",")
        with pipeline.runner(
            device,
            backend,
            devices=devices,
            replicas=replicas,
            timeout=timeout,
            verbose=0 if quiet else "auto",
        ) as runner:
            started = time.perf_counter()
            results = pipeline.predict(read_arrays(samples), runner=runner)
            seconds = time.perf_counter() - started
            statistics = runner.statistics()
            on_cpu = all(set(stage.devices) == {"cpu"} for stage in statistics)
        by_name = results if isinstance(results, dict) else dict.fromkeys(pipeline.outputs, results)
        if output is not None:
            save_arrays(output, by_name)
        count = len(next(iter(by_name.values())))
        if as_json:
            print_json(
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
            say(f"{name}: {values.dtype.name} {list(values.shape)}, mean {values.mean():.6g}")
        rows = [
            [index, ", ".join(one.devices), f"{one.mean_ms:.3f}"]
            for index, one in enumerate(statistics)
            if one.num_inferences
        ]
        if rows:
            say(table(["segment", "on", "ms"], rows))
        say(f"{count} samples in {seconds:.3f} s, {count / seconds:.4g} per second")


@click.command()
@click.argument("folder", type=EXISTING)
@click.option(
    "--inputs",
    "num_inputs",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Inputs to send.",
)
@click.option(
    "--device",
    metavar="NAME",
    multiple=True,
    callback=one_or_several,
    help=f"{DEVICE_HELP} Default: what the pipeline was made for.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Inputs per second. Default: as many as go through.",
)
@click.option("--poisson", is_flag=True, help="Inputs come at random, at that rate on average.")
@click.option("--input-queue", type=click.IntRange(min=1), help="Inputs that may wait.")
@click.option(
    "--inner-queue",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Inputs that may wait before each further stage.",
)
@click.option("--output-queue", type=click.IntRange(min=1), help="Results that may wait.")
@seed_option
@json_option
def simulate(
    folder: Path,
    num_inputs: int,
    device: Any,
    rate: float | None,
    poisson: bool,
    input_queue: int | None,
    inner_queue: int,
    output_queue: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate the pipeline in FOLDER on the Edge TPUs that the device model predicts."""
    with failing(as_json, f"Simulating {folder.name}"):
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
            print_json(found.to_dict())
        else:
            say(str(found))


@click.command()
@json_option
def devices(as_json: bool) -> None:
    """List the hosts that --device knows, with their constants, ranges and sources."""
    from respect_tf.device import device_table
    from respect_tf.report import table

    with failing(as_json, "Listing devices"):
        rows = device_table()
        if as_json:
            print_json([row.to_dict() for row in rows])
            return
        for row in rows:
            cells = [[c.name, c.shown, c.unit, c.source] for c in row.constants]
            columns = ["constant", "value (range)", "unit", "source"]
            click.echo(table(columns, cells, title=f"{row.name}: {row.host}, {row.link}"))
            click.echo()
        click.echo(
            "usb3, usb2 and pcie stand for all hosts of that link: the cut whose worst regret is "
            "least."
        )


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check that everything needed is installed, and say what is optional and missing."""
    from respect_tf.report import examine_installation, table

    with failing(as_json, "Looking at the installation"):
        findings = examine_installation()
        if as_json:
            print_json([finding.to_dict() for finding in findings])
        else:
            rows = [[f.name, f.status, f.found, f.remedy] for f in findings]
            say(table(["", "status", "found", "remedy"], rows))
        if any(finding.status == "missing" for finding in findings):
            sys.exit(1)


COMMANDS = (compile_, inspect, calibrate, devices, run, simulate, doctor)
