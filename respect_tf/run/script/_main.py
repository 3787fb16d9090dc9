"""Run the pipeline in this folder on Edge TPUs, or on the CPU.

    python3 run_pipeline.py --verify               # do the devices compute what was saved?
    python3 run_pipeline.py --input photo.jpg
    python3 run_pipeline.py --input x.npy --output y.npy
    python3 run_pipeline.py --benchmark 200
    python3 run_pipeline.py --serve /tmp/pipeline.sock

Needs Python 3.9 or newer, numpy, and ai-edge-litert (pip install ai-edge-litert), tflite_runtime,
TensorFlow or Google's pycoral; for Edge TPUs also their runtime, libedgetpu. --cpu rehearses
everything without any Edge TPU. pipeline.json beside this file says what goes in and comes out.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a device hung.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf.run.script._arguments import parse_arguments
from respect_tf.run.script._benchmark import invoke_all, pipeline_row, time_segments, write_csv
from respect_tf.run.script._devices import RuntimeMissingError, list_devices
from respect_tf.run.script._engine import Engine
from respect_tf.run.script._folder import (
    Failure,
    SavedFolder,
    dequantized,
    printable,
    write_whole,
)
from respect_tf.run.script._interpreters import checked_options
from respect_tf.run.script._loading import Loader, Place, this_program
from respect_tf.run.script._packages import LoadError
from respect_tf.run.script._samples import Samples, read_samples, zero_samples
from respect_tf.run.script._serve import Server, open_listener
from respect_tf.run.script._stages import LoadedModel, PipelineFailedError, make_stages
from respect_tf.run.script._verify import verify_segments

SHOWN_SAMPLES = 5
QUEUED_INPUTS = 8


def main(folder_path: Path | None = None) -> int:
    """Do what the command line says; the exit code."""
    arguments = parse_arguments()
    status, hangs = 0, False
    try:
        status = _obey(arguments, folder_path or Path(__file__).resolve().parent)
    except PipelineFailedError as failure:
        hangs = "hangs" in str(failure)
        print(f"error: {printable(str(failure))}", file=sys.stderr)
        status = 3 if hangs else 1
    except (Failure, LoadError, RuntimeMissingError) as failure:
        print(f"error: {printable(str(failure))}", file=sys.stderr)
        status = 1
    except (RuntimeError, ValueError, MemoryError, OSError) as failure:  # interpreters, sockets
        said = " ".join(str(failure).split())
        print(f"error: {printable(said or type(failure).__name__)}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    if hangs:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # a driver's threads never end
    return status


def _obey(arguments: argparse.Namespace, folder_path: Path) -> int:
    if arguments.list_devices and arguments.backend != "pycoral":
        print("\n".join(map(str, list_devices())) or "no Edge TPU found")
        return 0
    folder = SavedFolder(folder_path)
    for name in ("mean", "std"):
        if (getattr(arguments, name) is None) != (arguments.mean is None):
            raise Failure("--mean and --std belong together.")
    if arguments.mean is not None:
        for spec in folder.inputs:
            spec["normalization"] = {"mean": [arguments.mean], "std": [arguments.std]}
    samples = zero_samples(folder.inputs)
    if arguments.input:
        samples = read_samples(Path(arguments.input), folder.inputs)
    try:
        options = checked_options(
            {"Performance": arguments.performance} if arguments.performance else None
        )
    except ValueError as error:
        raise Failure(str(error)) from None
    place = Place(
        on_cpu=arguments.cpu,
        backend=arguments.backend,
        devices=tuple(arguments.devices.split(",")) if arguments.devices else None,
        replicas=arguments.replicas,
        options=options,
    )
    loader = Loader(folder, place, this_program())
    if arguments.list_devices:
        print("\n".join(loader.device_names()) or "no Edge TPU found")
        return 0
    models = loader.load_all()
    try:
        if arguments.verify:
            return _verify(folder, models, arguments.tolerance)
        if arguments.benchmark:
            rows = time_segments(folder, models, samples, arguments.benchmark)
            write_csv(arguments.csv, folder, rows)
        else:
            for _ in range(arguments.warm_up):
                invoke_all(folder, [replicas[0] for replicas in models], samples[0])
    except BaseException:
        for model in (model for replicas in models for model in replicas):
            model.close()
        raise
    engine = _start(folder, models, loader, arguments.timeout)
    try:
        if arguments.serve:
            return _serve(folder, engine, arguments.serve)
        if arguments.benchmark:
            arrivals = _time_pipeline(engine, samples, arguments.benchmark)
            whole = pipeline_row(models, arrivals)
            if whole is not None:
                write_csv(arguments.csv, folder, [*rows, whole])
        else:
            real = samples.real and not arguments.raw
            _deliver(folder, _stream(engine, samples), samples, real, arguments.output)
    finally:
        engine.close(discard=True)
    return 0


def _start(
    folder: SavedFolder, models: Sequence[Sequence[LoadedModel]], loader: Loader, timeout: float
) -> Engine:
    segments = folder.segments
    return Engine(
        make_stages(
            [[tensor["name"] for tensor in segment["inputs"]] for segment in segments],
            [[tensor["name"] for tensor in segment["outputs"]] for segment in segments],
            [replicas[0].device == "cpu" for replicas in models],
        ),
        models,
        input_queue_size=QUEUED_INPUTS,
        timeout=timeout,
        load=loader.load,
        reattach=min(5.0, timeout),
    )


def _stream(engine: Engine, samples: Iterator[Any] | Samples) -> Iterator[dict[str, Any]]:
    """Push all samples from another thread and yield the results, in order."""
    failures: list[BaseException] = []

    def push() -> None:
        try:
            for sample in samples:
                if not engine.put(sample):
                    break
        except PipelineFailedError:
            pass  # `get` raises it, too
        except BaseException as error:  # raised below: a picture that cannot be read, for one
            failures.append(error)
        engine.end()

    thread = threading.Thread(target=push, name="inputs", daemon=True)
    thread.start()
    while (result := engine.get()) is not None:
        yield result
    thread.join()
    if failures:
        raise failures[0]


def _verify(folder: SavedFolder, models: Sequence[Sequence[LoadedModel]], tolerance: float) -> int:
    try:
        first = verify_segments(folder, models, tolerance)
    finally:
        for model in (model for replicas in models for model in replicas):
            model.close()
    if first is None:
        print("verified: every segment computes what was saved")
        return 0
    segment = folder.segments[first]
    print(
        f"error: segment {first} ({printable(segment['name'])}) is the first that differs from "
        "what TFLite's CPU kernels computed when the folder was saved. A few values that differ by "
        "1 are rounding (--tolerance 1 accepts them); anything else is a wrong or damaged file, a "
        "fault of the compiler, or a device that is not well.",
        file=sys.stderr,
    )
    return 1


def _serve(folder: SavedFolder, engine: Engine, address: str) -> int:
    listener = open_listener(address)
    server = Server(engine.put, engine.get, folder.inputs, folder.outputs)
    print(f"serving at {printable(address)}; Ctrl-C ends it", flush=True)
    try:
        server.serve(listener)
    finally:
        server.stop()
        if not address.startswith("tcp:"):
            Path(address).unlink()
    return 0


def _time_pipeline(engine: Engine, samples: Samples, count: int) -> list[float]:
    """The seconds at which results arrived."""
    started = time.perf_counter()
    inputs = (samples[i % samples.count] for i in range(count))
    arrivals = [time.perf_counter() - started for _ in _stream(engine, inputs)]
    for index, stage in enumerate(engine.statistics()):
        print(f"stage {index} ({', '.join(stage.devices)}): {stage.mean_ms:.3f} ms in the pipeline")
    done, seconds = len(arrivals), arrivals[-1]
    print(
        f"pipeline: {done / seconds:.1f} inferences per second, {1000 * seconds / done:.3f} ms each"
    )
    return arrivals


def _deliver(
    folder: SavedFolder,
    results: Iterator[dict[str, Any]],
    samples: Samples,
    real: bool,
    path: str | None,
) -> None:
    """Write or show the results; real numbers if the input was given in real numbers."""
    if path is not None and len(folder.outputs) > 1 and not path.endswith(".npz"):
        names = [spec["name"] for spec in folder.outputs]
        raise Failure(f"The model has the outputs {names}: name an .npz file.")
    kept: dict[str, list[Any]] = {spec["name"]: [] for spec in folder.outputs}
    for index, result in enumerate(results):
        for spec in folder.outputs:
            values = result[spec["runner_name"]]
            values = dequantized(values, spec) if real else values
            batched = spec["shape"][:1] == [1]
            if path is not None:
                kept[spec["name"]].append(values if batched else values[None])
            elif index < SHOWN_SAMPLES or samples.names:
                name = samples.names[index] if samples.names else f"sample {index}"
                print(f"{printable(name)}: {_largest(spec, values)}")
    if path is None:
        print(f"{samples.count} samples")
        return
    outputs: Any = {name: np.concatenate(arrays) for name, arrays in kept.items()}
    content = io.BytesIO()
    if path.endswith(".npz"):
        np.savez(content, **outputs)
    else:
        np.save(content, next(iter(outputs.values())))
        path += "" if path.endswith(".npy") else ".npy"
    write_whole(Path(path).resolve(), content.getvalue())


def _largest(spec: dict[str, Any], values: Any) -> str:
    """The largest values of an output, with their labels."""
    labels, flat = spec.get("labels") or [], values.reshape(-1)
    best = np.argsort(-flat.astype(np.float64), kind="stable")[:3]
    shown = ", ".join(
        f"{printable(labels[i]) if i < len(labels) else i} {flat[i]:.6g}" for i in best
    )
    return f"{printable(spec['name'])} {values.dtype} {list(values.shape)}, largest: {shown}"
