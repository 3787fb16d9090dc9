"""`pipeline.json`: what a saved folder holds, written and read back.

The same pipeline always gives the same bytes: no times, no absolute paths.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from respect_tf._errors import RespectError, SavedPipelineError
from respect_tf._folder import MANIFEST
from respect_tf.compile import files_to_compile_elsewhere
from respect_tf.device import EdgeTpu, Hosts, devices_dict, devices_from
from respect_tf.graph import Quantization
from respect_tf.run import RUN_SCRIPT, Interface, TensorDescription, run_script
from respect_tf.schedule import Schedule
from respect_tf.segment import ParityReport, Segment, TensorSpec, check_runner_rules

if TYPE_CHECKING:
    from respect_tf._pipeline import Pipeline

REPORT = "report.html"

_SCHEMA_VERSION = 2
_PACKAGES = ("respect-tf", "tensorflow", "keras", "tf_keras", "numpy", "flatbuffers")


def pipeline_files(pipeline: Pipeline) -> dict[str, bytes]:
    """The files of a saved pipeline: name -> content. The manifest comes last.

    Raises:
        SegmentError: The segments break a rule of the pipeline runner.
    """
    check_runner_rules(pipeline.segments)
    files = {f"{pipeline.name}.tflite": pipeline.model}
    for segment in pipeline.segments:
        files[f"{segment.name}.tflite"] = segment.content
        if segment.compiled is not None:
            files[f"{segment.name}_edgetpu.tflite"] = segment.compiled
        if segment.compile_log is not None:
            files[f"{segment.name}_edgetpu.log"] = segment.compile_log.encode()
    uncompiled = [segment.name for segment in pipeline.segments if segment.compiled is None]
    if uncompiled:
        files |= files_to_compile_elsewhere(uncompiled)
    files[RUN_SCRIPT] = run_script()
    files[REPORT] = pipeline.report.to_html().encode()
    manifest = _manifest(pipeline, files)
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    files[MANIFEST] = (text + "\n").encode()
    return files


def read_pipeline(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a `Pipeline`, read from a saved folder.

    Raises:
        SavedPipelineError: There is no pipeline, a file is missing or was changed, or the manifest
            is damaged.
    """
    path = Path(folder)
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError as error:
        raise SavedPipelineError(
            f"'{path}' holds no {MANIFEST}, so it is no saved pipeline. Expected a folder that "
            "Pipeline.save() or 'respect-tf convert' wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise SavedPipelineError(f"'{path / MANIFEST}' cannot be read: {error}.") from error
    try:
        version = manifest["schema_version"]
        if version != _SCHEMA_VERSION:
            raise SavedPipelineError(
                f"'{path}' was saved with version {version} of the format; this release reads "
                f"version {_SCHEMA_VERSION}. Use the release that wrote it, or convert again."
            )
        contents = _read_files(path, manifest["files"])
        return _fields(manifest, contents)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, RespectError):
            raise
        raise SavedPipelineError(
            f"'{path / MANIFEST}' is damaged ({type(error).__name__}: {error}). Save the pipeline "
            "again."
        ) from error


def _manifest(pipeline: Pipeline, files: Mapping[str, bytes]) -> dict[str, Any]:
    schedule, parity = pipeline.schedule, pipeline.parity
    return {
        "schema_version": _SCHEMA_VERSION,
        "name": pipeline.name,
        "packages": {name: _version(name) for name in _PACKAGES},
        "inputs": [
            _interface(name, spec) | known
            for (name, spec), known in zip(
                pipeline.inputs.items(), _known(pipeline.interface.inputs), strict=False
            )
        ],
        "outputs": [
            _interface(name, spec)
            | {"model_tensor": pipeline.graph.tensor_names[spec.tensor]}
            | known
            for (name, spec), known in zip(
                pipeline.outputs.items(), _known(pipeline.interface.outputs), strict=False
            )
        ],
        "model": f"{pipeline.name}.tflite",
        "segments": [_segment(pipeline, segment) for segment in pipeline.segments],
        "crossing_tensors": _crossing(pipeline),
        "schedule": {
            "stages": schedule.stages.tolist(),
            "scheduler": schedule.scheduler,
            "objective": schedule.objective,
            "cost": schedule.cost,
            "lower_bound": schedule.lower_bound,
            "status": schedule.status,
            "device": None if schedule.device is None else devices_dict(schedule.device),
            "optima": None if schedule.optima is None else list(schedule.optima),
        },
        "device": devices_dict(pipeline.device),
        "predicted": pipeline.prediction.to_dict() | {"source": "predicted"},
        "figures": {
            "schedule.cost": "computed from sizes of constants and tensors in the .tflite model"
            if schedule.device is None
            else "predicted by the device model, with the constants of schedule.device",
            "predicted": "predicted by the device model, with the constants of device",
            "segments.parameter_bytes": "read from the .tflite model",
            "crossing_tensors.bytes": "read from the .tflite model",
        },
        "parity": None
        if parity is None
        else {
            "num_inputs": parity.num_inputs,
            "num_tensors": parity.num_tensors,
            "num_bytes": parity.num_bytes,
        },
        "warnings": list(pipeline.warnings),
        "recuts": list(pipeline.recuts),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }


def _segment(pipeline: Pipeline, segment: Segment) -> dict[str, Any]:
    compiled = None if segment.compiled is None else f"{segment.name}_edgetpu.tflite"
    log = None if segment.compile_log is None else f"{segment.name}_edgetpu.log"
    return {
        "index": segment.index,
        "name": segment.name,
        "file": f"{segment.name}.tflite",
        "compiled_file": compiled,
        "compile_log_file": log,
        "parameter_bytes": int(pipeline.graph.parameter_bytes[list(segment.ops)].sum()),
        "ops": list(segment.ops),
        "inputs": [_tensor(spec) for spec in segment.inputs],
        "outputs": [_tensor(spec) for spec in segment.outputs],
    }


def _crossing(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Every tensor that one segment hands to later ones."""
    made_in = {
        spec.name: (segment.index, spec)
        for segment in pipeline.segments[:-1]
        for spec in segment.outputs
    }
    return [
        {
            "name": name,
            "from": stage,
            "to": [s.index for s in pipeline.segments if name in {i.name for i in s.inputs}],
            "bytes": int(pipeline.graph.tensor_bytes[spec.tensor]),
        }
        for name, (stage, spec) in made_in.items()
    ]


def _known(descriptions: Sequence[TensorDescription]) -> Iterator[dict[str, Any]]:
    """What the user said about each input or output; nothing for those without a description."""
    return itertools.chain(
        (description.to_dict() for description in descriptions), itertools.repeat({})
    )


def _interface(name: str, spec: TensorSpec) -> dict[str, Any]:
    """An input or output as a user of the pipeline sees it."""
    return {"name": name, "runner_name": spec.name, **_properties(spec)}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "tensor": spec.tensor, **_properties(spec)}


def _properties(spec: TensorSpec) -> dict[str, Any]:
    affine = spec.quantization
    return {
        "dtype": spec.dtype,
        "shape": list(spec.shape),
        "scale": None if affine is None else list(affine.scale),
        "zero_point": None if affine is None else list(affine.zero_point),
        "axis": None if affine is None else affine.axis,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_files(path: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    contents = {}
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise SavedPipelineError(f"'{path / MANIFEST}' names '{name}', outside the folder.")
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            raise SavedPipelineError(
                f"'{path / name}' cannot be read: {error.strerror}. The folder is incomplete; copy "
                "it again or convert again."
            ) from error
        received = hashlib.sha256(content).hexdigest()
        if received != expected:
            raise SavedPipelineError(
                f"'{path / name}' was changed after it was saved. Expected SHA-256 {expected}. "
                f"Received: {received}. Copy the folder again or convert again."
            )
        contents[name] = content
    return contents


def _fields(manifest: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, Any]:
    segments = tuple(_read_segment(entry, contents) for entry in manifest["segments"])
    check_runner_rules(segments)
    parity = manifest["parity"]
    schedule = manifest["schedule"]
    return {
        "name": str(manifest["name"]),
        "model": contents[manifest["model"]],
        "segments": segments,
        "schedule": Schedule(
            stages=np.array(schedule["stages"]),
            cost=schedule["cost"],
            lower_bound=schedule["lower_bound"],
            status=schedule["status"],
            objective=schedule["objective"],
            device=_device(schedule["device"]),
            optima=None if schedule["optima"] is None else tuple(schedule["optima"]),
            scheduler=schedule["scheduler"],
        ),
        "device": devices_from(manifest["device"], f"{MANIFEST}: device"),
        "parity": None if parity is None else ParityReport(**parity),
        "warnings": tuple(manifest["warnings"]),
        "interface": Interface.from_dicts(manifest["inputs"], manifest["outputs"]),
        "recuts": tuple(manifest["recuts"]),
    }


def _device(data: Any) -> EdgeTpu | Hosts | None:
    return None if data is None else devices_from(data, f"{MANIFEST}: schedule.device")


def _read_segment(entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> Segment:
    compiled, log = entry["compiled_file"], entry.get("compile_log_file")
    return Segment(
        index=int(entry["index"]),
        name=str(entry["name"]),
        content=contents[entry["file"]],
        inputs=tuple(_read_spec(spec) for spec in entry["inputs"]),
        outputs=tuple(_read_spec(spec) for spec in entry["outputs"]),
        ops=tuple(int(op) for op in entry["ops"]),
        compiled=None if compiled is None else contents[compiled],
        compile_log=None if log is None else contents[log].decode("utf-8", "backslashreplace"),
    )


def _read_spec(entry: Mapping[str, Any]) -> TensorSpec:
    affine = None
    if entry["scale"] is not None:
        affine = Quantization(
            scale=tuple(entry["scale"]),
            zero_point=tuple(entry["zero_point"]),
            axis=int(entry["axis"]),
        )
    return TensorSpec(
        name=str(entry["name"]),
        tensor=int(entry["tensor"]),
        dtype=str(entry["dtype"]),
        shape=tuple(int(size) for size in entry["shape"]),
        quantization=affine,
    )
