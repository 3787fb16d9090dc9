"""`pipeline.json`: what a saved folder holds, written and read back.

The same pipeline always gives the same bytes: no times, no absolute paths.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from respect_tf._errors import SavedPipelineError
from respect_tf._fields import FieldError, finite
from respect_tf._manifest_fields import SCHEMA_VERSION
from respect_tf._manifest_schema import MANIFEST, check_name, parse_manifest
from respect_tf._provenance import installed_version
from respect_tf.compile import files_to_compile_elsewhere
from respect_tf.device import devices_dict
from respect_tf.run import (
    REFERENCE,
    RUN_README,
    RUN_SCRIPT,
    reference_file,
    run_readme,
    run_script,
)
from respect_tf.segmentation import Segment, TensorDescription, TensorSpec, check_runner_rules

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
    # Segments of a folder of an earlier release may be saved again as they are.
    check_runner_rules(pipeline.segments, stale_borders="warn")
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
            files[segment.compiled_file] = segment.compiled
        if segment.compile_log is not None:
            files[f"{segment.name}_edgetpu.log"] = segment.compile_log.encode()
    uncompiled = [
        segment.name
        for segment in pipeline.segments
        if segment.compiled is None and not segment.on_cpu
    ]
    if uncompiled:
        files |= files_to_compile_elsewhere(uncompiled)
    files[RUN_SCRIPT] = run_script()
    num_devices = sum(
        count
        for segment, count in zip(pipeline.segments, pipeline.replicas, strict=True)
        if not segment.on_cpu
    )
    files[RUN_README] = run_readme(pipeline.name, num_devices)
    reference = reference_file(pipeline.graph, pipeline.segments, lambda: pipeline._chain)
    if reference is not None:
        files[REFERENCE] = reference
    files[REPORT] = pipeline.report.to_html().encode()
    # NaN is written as such, so that the check names its field.
    text = json.dumps(_manifest(pipeline, files), indent=2, ensure_ascii=False)
    files[MANIFEST] = (text + "\n").encode()
    parse_manifest(files[MANIFEST])  # what is written can be read
    return files


def _manifest(pipeline: Pipeline, files: Mapping[str, bytes]) -> dict[str, Any]:
    schedule, parity = pipeline.schedule, pipeline.parity
    return {
        "schema_version": SCHEMA_VERSION,
        "name": pipeline.name,
        "packages": {name: installed_version(name) for name in _PACKAGES},
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
            "proposal_cost": schedule.proposal_cost,
        },
        "device": devices_dict(pipeline.device),
        "replicas": list(pipeline.replicas),
        "choice": pipeline.choice or None,
        "frames_by_devices": [
            finite(dataclasses.asdict(count) | {"replicas": list(count.replicas)})
            for count in pipeline.frames
        ],
        "predicted": finite(pipeline.prediction.to_dict()) | {"source": "predicted"},
        "comparison": None
        if pipeline.comparison is None
        else {
            "one_tpu_ms": pipeline.comparison.one_tpu_ms,
            "compiler_ms": pipeline.comparison.compiler_ms,
        },
        "figures": {
            "schedule.cost": "computed from sizes of constants and tensors in the .tflite model"
            if schedule.device is None
            else "predicted by the device model, with the constants of schedule.device",
            "predicted": "predicted by the device model, with the constants of device",
            "comparison": "predicted by the device model, with the constants of device",
            "frames_by_devices": "predicted by the device model, for the first host of device",
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
        "made": pipeline.made or None,
        "warnings": list(pipeline.warnings),
        "recuts": list(pipeline.recuts),
        "rewritten": list(pipeline.rewritten),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }


def _segment(pipeline: Pipeline, segment: Segment) -> dict[str, Any]:
    compiled = None if segment.compiled is None else segment.compiled_file
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
        "on_cpu": segment.on_cpu,
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
    return {"name": name, "runner_name": spec.name, **tensor_properties(spec)}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "tensor": spec.tensor, **tensor_properties(spec)}


def tensor_properties(spec: TensorSpec) -> dict[str, Any]:
    affine = spec.quantization
    return {
        "dtype": spec.dtype,
        "shape": list(spec.shape),
        "scale": None if affine is None else list(affine.scale),
        "zero_point": None if affine is None else list(affine.zero_point),
        "axis": None if affine is None else affine.axis,
    }
