#!/usr/bin/env python3
# ruff: noqa: T201
"""Run the pipeline in this folder on Edge TPUs, one per segment.

    python3 run_pipeline.py --input x.npy --output y.npy
    python3 run_pipeline.py --benchmark 200

Needs numpy, Google's pycoral (it is not the one on PyPI, see https://coral.ai/software) and nothing
else; runs on Python 3.7 and newer. pipeline.json beside this file says what goes in and comes out.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the pipeline hung.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
CSV_COLUMNS = (
    "segment",
    "model",  # the uncompiled model, relative to the CSV file
    "device",
    "ops",  # indices in the whole model, separated by spaces
    "runs",
    "ms",  # median time of an invocation
    "min_ms",
    "p90_ms",
    "max_ms",
    "first_ms",  # the first invocation, which loads the parameters
)
SHOWN_SAMPLES = 5
QUEUED_INPUTS = 8


def main() -> int:
    """Do what the command line says."""
    arguments = parse_arguments()
    try:
        manifest = read_manifest()
        edgetpu = load_pycoral("utils.edgetpu")
        if arguments.list_devices:
            print("\n".join(device_names(edgetpu)) or "no Edge TPU found")
            return 0
        samples, real = read_inputs(arguments.input, manifest["inputs"])
        interpreters, devices = make_interpreters(manifest, edgetpu, arguments.devices)
        if arguments.benchmark:
            rows = time_segments(manifest, interpreters, samples, arguments.benchmark)
            write_csv(arguments.csv, manifest, devices, rows)
        else:
            for _ in range(arguments.warm_up):
                invoke_all(interpreters, samples[0])
        pipeline = load_pycoral("pipeline.pipelined_model_runner")
        runner = pipeline.PipelinedModelRunner(interpreters)
        inputs = samples
        if arguments.benchmark:
            inputs = [samples[index % len(samples)] for index in range(arguments.benchmark)]
        started = time.perf_counter()
        results = list(run(runner, inputs, arguments.timeout))
        seconds = time.perf_counter() - started
        del runner  # drained: the real one can abort the process when Python ends before it
        if arguments.benchmark:
            print(
                f"pipeline: {len(results) / seconds:.1f} inferences per second, "
                f"{1000 * seconds / len(results):.3f} ms each"
            )
        else:
            deliver(manifest["outputs"], results, real, arguments.output)
    except Failure as failure:
        print(f"error: {printable(str(failure))}", file=sys.stderr)
        return 1
    return 0


def read_manifest() -> dict[str, Any]:
    """What is said about the pipeline."""
    try:
        manifest: dict[str, Any] = json.loads((FOLDER / "pipeline.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(f"{FOLDER / 'pipeline.json'} cannot be read: {error}") from error
    return manifest


class Failure(Exception):
    """Something that the user can mend."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the pipeline in this folder on Edge TPUs.")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="samples [num_samples, ...] or one sample: .npy, or .npz with one array per input; "
        "floats are quantised (zeros if left out, with --benchmark only)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="where results go: .npy, or .npz for several outputs"
    )
    parser.add_argument(
        "--devices", metavar="A,B,...", help="one per segment, for example usb:0,usb:1 or pci:0"
    )
    parser.add_argument("--list-devices", action="store_true", help="show the Edge TPUs and stop")
    parser.add_argument("--warm-up", type=count, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--benchmark", type=count, default=0, metavar="N", help="time N inferences of each segment"
    )
    parser.add_argument(
        "--csv", default="benchmark.csv", metavar="FILE", help="times of --benchmark go here"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="longest wait for a result"
    )
    arguments = parser.parse_args()
    if not (arguments.input or arguments.benchmark or arguments.list_devices):
        parser.error("one of --input, --benchmark and --list-devices is needed")
    return arguments


def count(text: str) -> int:
    """A whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def load_pycoral(name: str) -> Any:
    """A module of Google's pycoral."""
    try:
        return importlib.import_module(f"pycoral.{name}")
    except (ImportError, OSError) as error:
        raise Failure(
            f"pycoral.{name} cannot be imported ({error}). Google's pycoral is needed, which is "
            "not on PyPI: the project of that name there is another one ('pip uninstall pycoral'). "
            "See https://coral.ai/software: 'sudo apt-get install python3-pycoral'."
        ) from error


def device_names(edgetpu: Any) -> list[str]:
    """The Edge TPUs, PCIe first."""
    kinds = [device["type"] for device in edgetpu.list_edge_tpus()]
    return [f"{kind}:{i}" for kind in ("pci", "usb") for i in range(kinds.count(kind))]


def make_interpreters(
    manifest: dict[str, Any], edgetpu: Any, wanted: str | None
) -> tuple[list[Any], list[str]]:
    """An interpreter per segment, and the device it is on."""
    segments = manifest["segments"]
    devices = wanted.split(",") if wanted else device_names(edgetpu)[: len(segments)]
    if len(devices) != len(segments) or len(set(devices)) != len(devices):
        raise Failure(
            f"The pipeline has {len(segments)} segments and needs an Edge TPU for each. "
            f"{'Given' if wanted else 'Found'}: {', '.join(devices) or 'none'}. Check 'lsusb', "
            "'ls /dev/apex_*' and the groups plugdev and apex."
        )
    interpreters = []
    for segment, device in zip(segments, devices):  # noqa: B905 - Python 3.7
        name = segment["compiled_file"] or f"{segment['name']}_edgetpu.tflite"
        if Path(name).name != name:
            raise Failure(f"pipeline.json names {name!r}, outside the folder: copy it again")
        path = FOLDER / name
        if not path.is_file():
            raise Failure(
                f"{path.name} is missing: compile {segment['file']} with edgetpu_compiler on an "
                "x86-64 Linux machine ('respect-tf compile FOLDER' does that for all segments)."
            )
        try:
            interpreter = edgetpu.make_interpreter(str(path), device=device)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Failure(
                f"{path.name} cannot be loaded onto {device}: {' '.join(str(error).split())}. Is "
                "the Edge TPU runtime (libedgetpu1-std) installed, the device plugged in, not in "
                "use, and open to this user (group plugdev or apex)?"
            ) from error
        interpreters.append(interpreter)
    return interpreters, devices


def read_inputs(path: str | None, specs: list[dict[str, Any]]) -> tuple[list[Any], bool]:
    """Samples as dicts by runner name, and whether any input was given as floats."""
    given = read_arrays(path, specs)
    columns, real = {}, False
    for spec in specs:
        name = spec["runner_name"]
        array = given[spec["name"]]
        shape = tuple(spec["shape"])
        sample_shape = shape[1:] if shape[:1] == (1,) else shape
        if array.shape == sample_shape:
            array = array[None]
        if array.ndim == 0 or array.shape[1:] != sample_shape or not len(array):
            raise Failure(
                f"Input '{spec['name']}' must have the shape [num_samples, "
                f"{', '.join(map(str, sample_shape))}]. Received: {list(array.shape)}."
            )
        if array.dtype != np.dtype(spec["dtype"]):
            if array.dtype.kind != "f" or spec["scale"] is None or not np.isfinite(array).all():
                raise Failure(
                    f"Input '{spec['name']}' must be {spec['dtype']} or finite floats. "
                    f"Received: {array.dtype}."
                )
            array = quantize(array, spec)
            real = True
        columns[name] = array.reshape((-1, *shape))
    sizes = {len(array) for array in columns.values()}
    if len(sizes) > 1:
        raise Failure(f"All inputs need equally many samples. Received: {sorted(sizes)}.")
    return [
        {name: np.ascontiguousarray(array[i]) for name, array in columns.items()}
        for i in range(sizes.pop())
    ], real


def read_arrays(path: str | None, specs: list[dict[str, Any]]) -> dict[str, Any]:
    """One array per input, by name."""
    if path is None:
        return {spec["name"]: np.zeros(spec["shape"], spec["dtype"]) for spec in specs}
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Failure(f"{path} cannot be read as .npy or .npz: {error}.") from error
    names = [spec["name"] for spec in specs]
    if isinstance(loaded, np.ndarray):
        if len(specs) > 1:
            raise Failure(
                f"The model has the inputs {names}: give an .npz file with an array each."
            )
        return {names[0]: loaded}
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    for spec in specs:
        if spec["runner_name"] in arrays:
            arrays.setdefault(spec["name"], arrays.pop(spec["runner_name"]))
    if set(arrays) != set(names):
        raise Failure(f"The model has the inputs {names}. {path} has: {sorted(arrays)}.")
    return arrays


def quantize(values: Any, spec: dict[str, Any]) -> Any:
    """Real numbers to stored ones: rounded half away from zero, and clipped."""
    scaled = (values.astype(np.float32) / np.float32(spec["scale"][0])).astype(np.float64)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    limits = np.iinfo(spec["dtype"])
    stored = rounded + spec["zero_point"][0]
    return np.clip(stored, limits.min, limits.max).astype(spec["dtype"])


def dequantize(values: Any, spec: dict[str, Any]) -> Any:
    """Stored numbers to real ones, float32."""
    if spec["scale"] is None:
        return values.astype(np.float32)
    shifted = values.astype(np.float32) - np.float32(spec["zero_point"][0])
    return shifted * np.float32(spec["scale"][0])


def invoke_all(interpreters: list[Any], sample: dict[str, Any]) -> list[float]:
    """Run all segments one after another; the seconds that each invocation took."""
    values = dict(sample)
    seconds = []
    for interpreter in interpreters:
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], values[detail["name"]])
        started = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
        for detail in interpreter.get_output_details():
            values[detail["name"]] = interpreter.get_tensor(detail["index"])
    return seconds


def time_segments(
    manifest: dict[str, Any], interpreters: list[Any], samples: list[Any], runs: int
) -> list[dict[str, Any]]:
    """A row of times per segment."""
    first = invoke_all(interpreters, samples[0])
    timed = [invoke_all(interpreters, samples[i % len(samples)]) for i in range(runs)]
    rows = []
    for segment, column, slow in zip(  # noqa: B905 - Python 3.7
        manifest["segments"], 1000 * np.array(timed).T, first
    ):
        rows.append(
            {
                "segment": segment["index"],
                "ops": " ".join(map(str, segment["ops"])),
                "runs": runs,
                "ms": round(float(np.median(column)), 6),
                "min_ms": round(float(column.min()), 6),
                "p90_ms": round(float(np.percentile(column, 90)), 6),
                "max_ms": round(float(column.max()), 6),
                "first_ms": round(1000 * slow, 6),
            }
        )
        print(f"segment {segment['index']}: {rows[-1]['ms']:.3f} ms")
    return rows


def write_csv(
    path: str, manifest: dict[str, Any], devices: list[str], rows: list[dict[str, Any]]
) -> None:
    """Write the times for `respect-tf calibrate` and the scheduler "profile"."""
    target = Path(path).resolve()
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, CSV_COLUMNS)
    writer.writeheader()
    for row, segment, device in zip(rows, manifest["segments"], devices):  # noqa: B905
        model = os.path.relpath(str(FOLDER / segment["file"]), str(target.parent))
        writer.writerow({**row, "model": model, "device": device})
    write_whole(target, file.getvalue().encode())


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()
    print(f"written: {printable(str(target))}")


def printable(text: str) -> str:
    """A text without what a terminal obeys: control characters, as names may have, are escaped."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def run(runner: Any, samples: list[Any], timeout: float) -> Iterator[dict[str, Any]]:
    """Push all samples and yield the results, in order.

    Both ends have a thread of their own, and neither is waited for without a limit: when a segment
    after the first fails, the real runner's `pop` waits for ever.
    """
    order = [detail["name"] for detail in runner.interpreters()[0].get_input_details()]
    runner.set_input_queue_size(QUEUED_INPUTS)
    results: queue.Queue[Any] = queue.Queue()

    def push() -> None:
        try:
            for sample in samples:
                runner.push({name: sample[name] for name in order})
            runner.push({})
        except Exception as error:  # handed to the thread that reads the results
            results.put(error)

    def pop() -> None:
        try:
            while True:
                result = runner.pop()
                results.put(result or None)
                if not result:
                    return
        except Exception as error:  # handed to the thread that reads the results
            results.put(error)

    threads = [threading.Thread(target=work, daemon=True) for work in (push, pop)]
    for thread in threads:
        thread.start()
    for _ in samples:
        try:
            result = results.get(timeout=timeout)
        except queue.Empty:
            print(f"error: no result for {timeout} s; the pipeline hangs", file=sys.stderr)
            sys.stderr.flush()
            os._exit(3)  # the runner's own threads never end
        if isinstance(result, Exception):
            raise Failure(f"the pipeline failed: {result}") from result
        if result is None:
            raise Failure("the pipeline ended before all results were there")
        yield result
    for thread in threads:
        thread.join(timeout)


def deliver(specs: list[dict[str, Any]], results: list[Any], real: bool, path: str | None) -> None:
    """Write or show the results; real numbers if the input was given in real numbers."""
    outputs = {}
    for spec in specs:
        made = [result[spec["runner_name"]] for result in results]
        stacked = np.concatenate(made) if spec["shape"][:1] == [1] else np.stack(made)
        outputs[spec["name"]] = dequantize(stacked, spec) if real else stacked
    if path is not None:
        content = io.BytesIO()
        if path.endswith(".npz"):
            arrays: Any = outputs
            np.savez(content, **arrays)
        elif len(outputs) == 1:
            np.save(content, next(iter(outputs.values())))
            path += "" if path.endswith(".npy") else ".npy"
        else:
            raise Failure(f"The model has the outputs {list(outputs)}: name an .npz file.")
        write_whole(Path(path).resolve(), content.getvalue())
        return
    for spec in specs:
        values = outputs[spec["name"]]
        print(f"{printable(spec['name'])}: {values.dtype} {list(values.shape)}")
        labels = spec.get("labels") or []
        for index, sample in enumerate(
            values[:SHOWN_SAMPLES].reshape(min(len(values), SHOWN_SAMPLES), -1)
        ):
            best = np.argsort(-sample.astype(np.float64), kind="stable")[:3]
            shown = ", ".join(
                f"{printable(labels[i]) if i < len(labels) else i}: {sample[i]:.6g}" for i in best
            )
            print(f"  sample {index}, largest: {shown}")


if __name__ == "__main__":
    sys.exit(main())
