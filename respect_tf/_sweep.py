"""Many architectures on many hosts with many devices: one table."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respect_tf._architecture import Architecture, architecture_of
from respect_tf._beam import Done, Item, Job, as_json, map_items
from respect_tf._errors import ArgumentError, DependencyError, InvalidModelError, RespectError
from respect_tf._files import write_file
from respect_tf._places import Place, place_of
from respect_tf._reporting import Verbosity
from respect_tf.planning import plan_devices

COLUMNS = (
    "model", "host", "num_devices", "num_segments", "replicas", "frames_per_second", "interval_ms",
    "latency_ms", "first_ms", "streamed_bytes", "limited_by", "copies_frames_per_second",
    "pipeline_frames_per_second", "cpu_frames_per_second", "is_proved", "origin",
)  # fmt: skip
"""Columns of a sweep's table."""

_ENDINGS = (".keras", ".h5", ".hdf5", ".tflite")
_APPLICATION = "keras.applications."


def sweep_models(given: Sequence[str]) -> list[str]:
    """What to sweep over: files of folders, files, and classes of `keras.applications`.

    Args:
        given: Paths, names such as `"ResNet50"`, or `"keras.applications"` for all of them.

    Raises:
        ArgumentError: One is neither.
    """
    import keras

    known = [name for name in dir(keras.applications) if name[0].isupper()]
    found: list[str] = []
    for one in given:
        path = Path(one)
        if one == _APPLICATION.rstrip("."):
            found += [_APPLICATION + name for name in known]
        elif one in known:
            found.append(_APPLICATION + one)
        elif path.is_dir() and not (path / "saved_model.pb").exists():
            files = sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS)
            if not files:
                raise ArgumentError(
                    f"'{one}' holds no models. Expected files {', '.join(_ENDINGS)} in it."
                )
            found += map(str, files)
        elif path.exists():
            found.append(one)
        else:
            raise ArgumentError(
                f"'{one}' is no file, no folder, and no class of keras.applications."
            )
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        rows: Of all models on all hosts, in their order.
        failures: Reason of each model that failed, by its place.
        num_kept: Number of models that an earlier run had done.
    """

    rows: tuple[Item, ...]
    failures: dict[int, str]
    num_kept: int


def sweep(
    models: Sequence[str],
    folder: str,
    *,
    devices: Sequence[str] = ("usb3-pi5",),
    num_devices: int = 8,
    time_limit: float | None = None,
    beam_options: Sequence[str] = (),
    num_processes: int = 1,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> SweepResult:
    """Estimate every model on every host, with 1, 2, ... devices.

    Args:
        models: What `sweep_models` gives.
        folder: Where results go; see `map_items`. A run that was killed goes on from there.
        devices: Names of hosts.
        num_devices: Number of devices at most.
        time_limit: Seconds for the plan of a model on a host; None for no limit.
        beam_options: Options of Beam.
        num_processes: Processes of this machine, where the options name no runner.
        seed: See `respect_tf.schedule`.
        verbose: 0 is silence.

    Returns:
        The rows.
    """
    items: list[Item] = [
        {
            "model": model,
            "devices": list(devices),
            "num_devices": num_devices,
            "time_limit": time_limit,
            "seed": seed,
        }
        for model in models
    ]
    jobs = [_job(number, item) for number, item in enumerate(items)]
    found = map_items(
        estimate_item,
        jobs,
        folder,
        beam_options=beam_options,
        num_processes=num_processes,
        verbose=verbose,
    )
    place = place_of(folder)
    rows: list[Item] = []
    for number, job in enumerate(jobs):
        if number not in found.failures:
            rows += json.loads(place.read(job.outputs[0]))["rows"]
    return SweepResult(tuple(rows), found.failures, found.num_kept)


def _job(number: int, item: Item) -> Job:
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{number:07d}-{digest}"
    return Job(name, (f"done/{name}.json",), {**item, "name": name})


def estimate_item(item: Item, place: Place) -> Done:
    """The rows of one model on all hosts, as `map_items` asks for them."""
    del place
    model = item["model"]
    try:
        found = architecture_of(
            _built(model), trained=True, custom_objects=None, trusted=False, verbose=0
        )
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, RespectError):
            raise
        raise InvalidModelError(f"'{model}': {type(error).__name__}: {error}") from error
    rows = [row for device in item["devices"] for row in _rows(item, found, device)]
    content = as_json({"item": item, "rows": rows})
    return Done({f"done/{item['name']}.json": content}, {"rows": len(rows)})


def _built(model: str) -> Any:
    """An application without weights, or a path."""
    if not model.startswith(_APPLICATION):
        return model
    import keras

    keras.utils.clear_session()
    build = getattr(keras.applications, model.removeprefix(_APPLICATION))
    built = build(weights=None)
    if None in built.input_shape[1:]:  # MobileNetV3: its documented size
        built = build(weights=None, input_shape=(224, 224, 3))
    return built


def _rows(item: Item, found: Architecture, device: str) -> list[Item]:
    plan = plan_devices(
        found.graph,
        item["num_devices"],
        device=device,
        time_limit=item["time_limit"],
        seed=item["seed"],
    )
    copies, pipelines = (
        {row.num_devices: row.frames_per_second for row in rows}
        for rows in (plan.copies, plan.pipelines)
    )
    return [
        {
            "model": item["model"].removeprefix(_APPLICATION),
            "host": device,
            "num_devices": row.num_devices,
            "num_segments": row.num_segments,
            "replicas": "+".join(map(str, row.replicas)),
            "frames_per_second": row.frames_per_second,
            "interval_ms": row.interval_ms,
            "latency_ms": row.latency_ms,
            "first_ms": row.first_ms,
            "streamed_bytes": row.streamed_bytes,
            "limited_by": row.limited_by,
            # None, an empty cell, where ops on the CPU leave no such way.
            "copies_frames_per_second": copies.get(row.num_devices),
            "pipeline_frames_per_second": pipelines.get(row.num_devices),
            "cpu_frames_per_second": plan.cpu.frames_per_second,
            "is_proved": plan.is_proved,
            "origin": found.origin,
        }
        for row in plan.rows
        if row.kind != "cpu"
    ]


def write_table(found: SweepResult, path: Path) -> int:
    """Write the rows as CSV or Parquet, by the file's ending.

    Returns:
        Number of rows.

    Raises:
        ArgumentError: Another ending.
        DependencyError: pyarrow is not installed.
    """
    rows = found.rows
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_file(path, text.getvalue().encode())
    elif path.suffix == ".parquet":
        write_file(path, _parquet(rows))
    else:
        raise ArgumentError(f"A table is .csv or .parquet. Received: '{path}'.")
    return len(rows)


def _parquet(rows: Sequence[Item]) -> bytes:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DependencyError(
            "pyarrow is not installed, which writes .parquet. pip install 'respect-tf[beam]', or "
            "ask for a .csv."
        ) from error
    table = pyarrow.table({name: [row[name] for row in rows] for name in COLUMNS})
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
