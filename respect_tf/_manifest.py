"""`pipeline.json`: what a saved folder holds, written and read back.

The same pipeline always gives the same bytes: no times, no absolute paths.
"""

from __future__ import annotations

import contextlib
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
from respect_tf._fields import FieldError, finite, refuse, shown
from respect_tf._files import strays_of
from respect_tf._folder import read_listed, read_manifest
from respect_tf._manifest_schema import MANIFEST, SCHEMA_VERSION, check_name, parse_manifest
from respect_tf.compile import check_same_interface, files_to_compile_elsewhere
from respect_tf.device import EdgeTpu, Hosts, devices_dict, devices_from, resolve_device
from respect_tf.graph import OpGraph, Quantization
from respect_tf.run import RUN_SCRIPT, Interface, TensorDescription, run_script
from respect_tf.schedule import Schedule, check_schedule
from respect_tf.segment import ParityReport, Segment, TensorSpec, check_runner_rules

if TYPE_CHECKING:
    from respect_tf._pipeline import Pipeline

REPORT = "report.html"

_PACKAGES = ("respect-tf", "tensorflow", "keras", "tf_keras", "numpy", "flatbuffers")


def pipeline_files(pipeline: Pipeline) -> dict[str, bytes]:
    """The files of a saved pipeline: name -> content. The manifest comes last.

    Raises:
        SegmentError: The segments break a rule of the pipeline runner.
        SavedPipelineError: A name or figure is none that `read_pipeline` would take.
    """
    check_runner_rules(pipeline.segments)
    try:
        return _files(pipeline)
    except (FieldError, UnicodeEncodeError) as error:
        raise SavedPipelineError(
            f"The pipeline cannot be saved, as its {MANIFEST} could not be read again. {error} "
            "Change what it names: rename the model's file, or convert the model again."
        ) from error


def _files(pipeline: Pipeline) -> dict[str, bytes]:
    for name in (pipeline.name, *(segment.name for segment in pipeline.segments)):
        check_name(name)
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
    # NaN is written as such, so that the check names its field.
    text = json.dumps(_manifest(pipeline, files), indent=2, ensure_ascii=False)
    files[MANIFEST] = (text + "\n").encode()
    parse_manifest(files[MANIFEST])  # what is written can be read
    return files


def read_pipeline(folder: str | os.PathLike[str]) -> Pipeline:
    """The pipeline in a saved folder. Nothing in the folder is trusted.

    Raises:
        SavedPipelineError: There is no pipeline, a file is missing, was changed or is no regular
            file, or the manifest is damaged; the message names the field.
        SegmentError: The segments break a rule of the pipeline runner.
        InvalidModelError: A model in it is damaged.
    """
    path = Path(folder)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        left = [] if isinstance(error, ValueError) else strays_of(path.absolute())
        raise SavedPipelineError(
            f"{os.fspath(folder)!r} cannot be read: {getattr(error, 'strerror', None) or error}. "
            + (
                f"A save was interrupted, and the next one will repair it: '{left[0]}' is there."
                if left
                else f"Expected a folder that holds a saved pipeline, with its {MANIFEST}."
            )
        ) from error
    try:
        manifest = read_manifest(path, descriptor)
        contents = read_listed(path, manifest["files"], descriptor)
    finally:
        os.close(descriptor)
    try:
        return _pipeline(manifest, contents)
    except (FieldError, OverflowError) as error:
        raise SavedPipelineError(
            f"'{path / MANIFEST}' does not fit the models beside it. {error} Copy the folder again "
            "or convert again."
        ) from error


def _manifest(pipeline: Pipeline, files: Mapping[str, bytes]) -> dict[str, Any]:
    schedule, parity = pipeline.schedule, pipeline.parity
    return {
        "schema_version": SCHEMA_VERSION,
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
        "predicted": finite(pipeline.prediction.to_dict()) | {"source": "predicted"},
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


def _pipeline(manifest: Mapping[str, Any], contents: Mapping[str, bytes]) -> Pipeline:
    """The pipeline of a checked manifest, checked against the models.

    Raises:
        FieldError: They contradict each other.
    """
    from respect_tf._pipeline import Pipeline

    segments = tuple(_read_segment(entry, contents) for entry in manifest["segments"])
    graph = OpGraph.from_tflite(contents[manifest["model"]])
    _check_ops(manifest, graph)
    _check_tensors(manifest, graph)
    check_runner_rules(segments)
    _check_compiled(segments)
    parity = manifest["parity"]
    made = Pipeline(
        name=manifest["name"],
        model=contents[manifest["model"]],
        segments=segments,
        schedule=_schedule(manifest["schedule"], manifest["schema_version"]),
        device=_device(manifest["device"], manifest["schema_version"]),
        parity=None if parity is None else ParityReport(**parity),
        warnings=tuple(manifest["warnings"]),
        interface=Interface.from_dicts(manifest["inputs"], manifest["outputs"]),
        recuts=tuple(manifest["recuts"]),
    )
    made.__dict__["graph"] = graph  # what the property would read again
    _check_interface(manifest, made)
    return made


def _schedule(entry: Mapping[str, Any], version: int) -> Schedule:
    stages = np.array(entry["stages"], np.int32)
    if version == 1 and entry["device"] is not None:
        # Its cost is that of another model of devices; the cut is as good as it was.
        return Schedule(stages, scheduler=entry["scheduler"])
    device = None
    if entry["device"] is not None:
        with _field("schedule.device"):
            device = devices_from(entry["device"], "It")
    optima = entry["optima"]
    if optima is not None and not (isinstance(device, Hosts) and len(device) == len(optima)):
        refuse("schedule.optima", "one per device, or null where there is one", shown(optima))
    with _field("schedule"):
        return Schedule(
            stages=stages,
            cost=entry["cost"],
            lower_bound=entry["lower_bound"],
            status=entry["status"],
            objective=entry["objective"],
            device=device,
            optima=None if optima is None else tuple(optima),
            scheduler=entry["scheduler"],
        )


def _device(entry: Mapping[str, Any] | None, version: int) -> EdgeTpu | Hosts:
    if entry is None or version == 1:
        # The first folders have none, or constants that mean nothing any more: the link counts.
        link = None if entry is None else entry["name"]
        return resolve_device(link if link in ("usb2", "pcie") else "usb3")
    with _field("device"):
        return devices_from(entry, "It")


@contextlib.contextmanager
def _field(path: str) -> Iterator[None]:
    """Name the field that something is wrong with."""
    try:
        yield
    except RespectError as error:
        raise FieldError(f"Field '{path}': {error}") from error


def _check_compiled(segments: Sequence[Segment]) -> None:
    for segment in segments:
        if segment.compiled is not None:
            with _field(f"segments[{segment.index}].compiled_file"):
                check_same_interface(segment.compiled, segment.content)


def _check_ops(manifest: Mapping[str, Any], graph: OpGraph) -> None:
    """Stages and bytes are those of the model's ops."""
    stages = manifest["schedule"]["stages"]
    if len(stages) != graph.num_ops:
        refuse("schedule.stages", f"the stages of the model's {graph.num_ops} ops", shown(stages))
    with _field("schedule.stages"):
        check_schedule(graph, Schedule(np.array(stages, np.int32)))
    for index, entry in enumerate(manifest["segments"]):
        held = int(graph.parameter_bytes[entry["ops"]].sum())
        if entry["parameter_bytes"] != held:
            refuse(f"segments[{index}].parameter_bytes", str(held), shown(entry["parameter_bytes"]))


def _check_tensors(manifest: Mapping[str, Any], graph: OpGraph) -> None:
    """Every tensor at a border is described as the model has it."""
    for index, entry in enumerate(manifest["segments"]):
        for side in ("inputs", "outputs"):
            for position, found in enumerate(entry[side]):
                where = f"segments[{index}].{side}[{position}]"
                tensor = found["tensor"]
                if tensor >= graph.num_tensors:
                    refuse(f"{where}.tensor", f"one of {graph.num_tensors} tensors", str(tensor))
                right = _properties(
                    TensorSpec(
                        name=found["name"],
                        tensor=tensor,
                        dtype=graph.tensor_dtypes[tensor],
                        shape=graph.tensor_shapes[tensor],
                        quantization=graph.tensor_quantization[tensor],
                    )
                )
                for name, value in right.items():
                    if found[name] != value:
                        refuse(f"{where}.{name}", f"{value!r:.80}", f"{found[name]!r:.80}")
    made = {t["name"]: t["tensor"] for e in manifest["segments"] for t in e["outputs"]}
    for index, entry in enumerate(manifest["crossing_tensors"]):
        size = int(graph.tensor_bytes[made[entry["name"]]])
        if entry["bytes"] != size:
            refuse(f"crossing_tensors[{index}].bytes", str(size), shown(entry["bytes"]))


def _check_interface(manifest: Mapping[str, Any], pipeline: Pipeline) -> None:
    """The model's inputs and outputs have the names of its signature, in its order."""
    sides = {"inputs": pipeline.inputs, "outputs": pipeline.outputs}
    for side, specs in sides.items():
        found = [[entry["name"], entry["runner_name"]] for entry in manifest[side]]
        expected = [[name, spec.name] for name, spec in specs.items()]
        if found != expected:
            refuse(side, f"{expected!r:.200}", f"{found!r:.200}")
    for index, spec in enumerate(pipeline.outputs.values()):
        name = manifest["outputs"][index]["model_tensor"]
        if name is not None and name != pipeline.graph.tensor_names[spec.tensor]:
            refuse(f"outputs[{index}].model_tensor", "the model's name for it", shown(name))


def _read_segment(entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> Segment:
    compiled, log = entry["compiled_file"], entry["compile_log_file"]
    return Segment(
        index=entry["index"],
        name=entry["name"],
        content=contents[entry["file"]],
        inputs=tuple(_read_spec(spec) for spec in entry["inputs"]),
        outputs=tuple(_read_spec(spec) for spec in entry["outputs"]),
        ops=tuple(entry["ops"]),
        compiled=None if compiled is None else contents[compiled],
        compile_log=None if log is None else contents[log].decode("utf-8", "backslashreplace"),
    )


def _read_spec(entry: Mapping[str, Any]) -> TensorSpec:
    affine = None
    if entry["scale"] is not None:
        affine = Quantization(
            scale=tuple(entry["scale"]),
            zero_point=tuple(entry["zero_point"]),
            axis=entry["axis"],
        )
    return TensorSpec(
        name=entry["name"],
        tensor=entry["tensor"],
        dtype=entry["dtype"],
        shape=tuple(entry["shape"]),
        quantization=affine,
    )
