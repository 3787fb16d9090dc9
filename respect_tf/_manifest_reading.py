"""A `Pipeline` from a saved folder: the manifest checked against the models beside it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from respect_tf._errors import RespectError, SavedPipelineError
from respect_tf._fields import FieldError, refuse, shown
from respect_tf._files import strays_of
from respect_tf._folder_reading import read_listed, read_manifest
from respect_tf._manifest import tensor_properties
from respect_tf._manifest_schema import MANIFEST
from respect_tf.compile import check_same_interface
from respect_tf.device import EdgeTpu, Hosts, devices_from, first_device, resolve_device
from respect_tf.graph import OpGraph, Quantization
from respect_tf.planning import DeviceCount
from respect_tf.report import Comparison
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.segmentation import (
    Interface,
    ParityReport,
    Segment,
    TensorSpec,
    check_runner_rules,
)

if TYPE_CHECKING:
    from respect_tf._pipeline import Pipeline

# The first version whose segments keep ops away from borders where their CPU kernels go wrong.
_SAFE_BORDERS = 3


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
    is_old = manifest["schema_version"] < _SAFE_BORDERS
    found = check_runner_rules(segments, stale_borders="warn" if is_old else "refuse")
    _check_compiled(segments)
    parity, comparison = manifest["parity"], manifest["comparison"]
    device = _device(manifest["device"], manifest["schema_version"])
    made = Pipeline(
        name=manifest["name"],
        model=contents[manifest["model"]],
        segments=segments,
        schedule=_schedule(
            manifest["schedule"],
            manifest["schema_version"],
            cpu_stages=[segment.index for segment in segments if segment.on_cpu],
        ),
        graph=graph,
        device=device,
        replicas=_replicas(manifest["replicas"], segments),
        choice=manifest["choice"] or "",
        frames=tuple(_device_count(entry) for entry in manifest["frames_by_devices"]),
        parity=None if parity is None else ParityReport(**parity),
        warnings=tuple(dict.fromkeys([*manifest["warnings"], *(found if is_old else ())])),
        interface=Interface.from_dicts(manifest["inputs"], manifest["outputs"]),
        recuts=tuple(manifest["recuts"]),
        made=manifest["made"] or "",
        rewritten=tuple(manifest["rewritten"]),
        comparison=None
        if comparison is None
        else Comparison(
            device=first_device(device),
            num_stages=len(segments),
            one_tpu_ms=comparison["one_tpu_ms"],
            compiler_ms=comparison["compiler_ms"],
        ),
    )
    _check_interface(manifest, made)
    return made


def _replicas(replicas: Sequence[int], segments: Sequence[Segment]) -> tuple[int, ...]:
    """Devices of each segment; one each in folders of before there were replicas."""
    counts = tuple(replicas) or (1,) * len(segments)
    if len(counts) != len(segments):
        refuse("replicas", f"{len(segments)} numbers, one per segment", shown(replicas))
    for segment, count in zip(segments, counts, strict=True):
        if segment.on_cpu and count > 1:
            refuse(f"replicas[{segment.index}]", "1, as the segment runs on the CPU", str(count))
    return counts


def _device_count(entry: Mapping[str, Any]) -> DeviceCount:
    frames = entry["frames_per_second"]
    return DeviceCount(
        num_devices=entry["num_devices"],
        replicas=tuple(entry["replicas"]),
        frames_per_second=math.inf if frames is None else float(frames),
    )


def _schedule(entry: Mapping[str, Any], version: int, *, cpu_stages: Sequence[int]) -> Schedule:
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
            cpu_stages=cpu_stages,
            scheduler=entry["scheduler"],
            proposal_cost=entry["proposal_cost"],
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
                right = tensor_properties(
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
        on_cpu=entry["on_cpu"],
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
