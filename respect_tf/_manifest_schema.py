"""The fields of `pipeline.json`: one closed table, and what has to fit together in it.

Nothing here reads a model: a folder that is about to be replaced is judged by this alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from respect_tf._fields import (
    Field,
    FieldError,
    changed,
    figures,
    list_of,
    map_of,
    nullable,
    number,
    one_of,
    parse_json,
    record,
    refuse,
    shown,
    text,
    whole,
)

MANIFEST = "pipeline.json"
"""The file that tells a folder of ours from any other."""

SCHEMA_VERSION = 2
"""What this release writes; it reads all versions up to it."""

MOST_MANIFEST_BYTES = 64 * 2**20
"""The largest manifest that is read. A model of 5,783 ops, the largest of the policy's test suite,
has one of 0.5 MiB; 21,843 labels of ImageNet-21k add as much."""

# Lists and objects inside each other: `segments[0].inputs[0].shape` is the deepest of the fields,
# `predicted.stages[0].predicted.ms` of the figures.
_MOST_DEPTH = 12
_MOST = 2**63 - 1  # bytes, milliseconds: what int64 holds, and no sum of them is infinite
_MOST_INDEX = 2**31 - 1  # TFLite's own indices are int32
_MOST_STAGES = 100_000  # a folder has a file per stage, and file systems slow down beyond
_DTYPES = (
    *("int4", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "bool", "complex64", "complex128"),
)
_NAME_BYTES = 200  # of a base name: the longest ending, "_edgetpu.tflite", has to fit into 255

_words = text()
_size = whole(0, _MOST)
_stage = whole(0, _MOST_STAGES)
_amount = number(0, 1e15)  # constants of devices; a product of four of them is finite
_at_least_one = number(1, 1e15)
_measure = number(0, _MOST)
_finite = number(-3.5e38, 3.5e38)  # float32, as the model has them
_pairs = list_of(list_of(_amount, least=2, most=2), most=1000)
_sha256 = text("a SHA-256 in 64 lower-case hexadecimal digits", pattern="[0-9a-f]{64}")
_file_name = text(
    "the plain name of a file, none outside the folder",
    pattern=r"[^/\\\x00-\x1f\x7f]{1,255}",
    most=255,
)

CONSTANTS = (
    Field("link", one_of("USB 3", "USB 2", "PCIe")),
    Field("num_tiles", whole(1, 10**6)),
    Field("tile_bytes", _amount),
    Field("activation_share", _amount),
    Field("activation_cap_mib", _amount),
    Field("strip_map_mib", _amount),
    Field("strip_parameter_mib", _amount),
    Field("strip_input_share", _amount),
    Field("strip_passes", _pairs),
    Field("clock_mhz", _at_least_one),
    Field("link_ms_per_mib", _amount),
    Field("output_ms_per_request", _amount),
    Field("request_bytes", _at_least_one),
    Field("requests_in_flight", _at_least_one),
    Field("bus_ms_per_mib", _amount),
    Field("contention", _pairs),
    Field("fixed_ms", _amount),
    Field("stage_ms", _amount),
    Field("cpu_ms_per_gmac", _amount),
    Field("cpu_ms_per_mib", _amount),
    Field("ranges", map_of(_words, list_of(_amount, least=2, most=2))),
)
"""The constants of an `EdgeTpu`, but for its name."""

_DEVICE = record((Field("name", _words), Field("constants", record(CONSTANTS))))
_DEVICES = record((Field("name", _words), Field("devices", list_of(_DEVICE, least=1, most=1000))))
# What a device was in version 1.
_FIRST_DEVICE = (
    Field("name", _words),
    Field("num_tiles", whole(1, 10**6)),
    Field("tile_bytes", _amount),
    Field("activation_share", _amount),
    Field("strip_map_mib", _amount),
    Field("strip_parameter_mib", _amount),
    Field("strip_input_share", _amount),
    Field("strip_passes", _pairs),
    Field("fixed_ms", _amount),
    Field("ms_per_gmac", _amount),
    Field("ms_per_map_mib", _amount),
    Field("ms_per_vector_mib", _amount),
    Field("ms_per_streamed_mib", _amount),
    Field("ms_per_input_mib", _amount),
    Field("ms_per_output_mib", _amount),
    Field("contention", _pairs),
    Field("dispatch_ms", _amount),
    Field("bus_ms_per_mib", _amount),
    Field("instruction_bytes", _amount),
    Field("instruction_bytes_per_op", _amount),
    Field("cpu_ms_per_gmac", _amount),
    Field("cpu_ms_per_mib", _amount),
)
_HOSTS = nullable(changed(record(_FIRST_DEVICE), {2: _DEVICES}))

_PROPERTIES = (
    Field("dtype", one_of(*_DTYPES)),
    Field("shape", list_of(whole(0, _MOST_INDEX), most=64)),
    Field("scale", nullable(list_of(_finite))),
    Field("zero_point", nullable(list_of(whole(-(2**63), _MOST)))),
    Field("axis", nullable(whole(0, 63))),
)
_TENSOR = (Field("name", _words), Field("tensor", whole(0, _MOST_INDEX)), *_PROPERTIES)
_NORMALIZATION = (
    Field("mean", list_of(number(-1e300, 1e300))),
    Field("std", list_of(number(0, 1e300))),
)
_INTERFACE = (
    Field("name", _words),
    Field("runner_name", _words),
    *_PROPERTIES,
    Field(
        "normalization",
        record(_NORMALIZATION),
        optional=True,
        default={"mean": [], "std": []},
    ),
    Field("labels", list_of(_words), optional=True, default=[]),
)
_SEGMENT = (
    Field("index", _stage),
    Field("name", _file_name),
    Field("file", _file_name),
    Field("compiled_file", nullable(_file_name)),
    Field("compile_log_file", nullable(_file_name), optional=True),
    Field("parameter_bytes", _size),
    Field("ops", list_of(whole(0, _MOST_INDEX))),
    Field("inputs", list_of(record(_TENSOR))),
    Field("outputs", list_of(record(_TENSOR))),
)
_CROSSING = (
    Field("name", _words),
    Field("from", _stage),
    Field("to", list_of(_stage)),
    Field("bytes", _size),
)
_SCHEDULE = (
    Field("stages", list_of(_stage, least=1)),
    Field("scheduler", _words),
    Field("objective", nullable(_words)),
    Field("cost", nullable(_measure)),
    Field("lower_bound", nullable(_measure)),
    Field("status", one_of("optimal", "feasible")),
    Field("device", _HOSTS, optional=True),
    Field("optima", nullable(list_of(_measure)), since=2),
)
_PARITY = (Field("num_inputs", _size), Field("num_tensors", _size), Field("num_bytes", _size))

# What is optional in version 1 is what its first folders did not have.
MANIFEST_FIELDS = (
    Field("schema_version", whole(1, SCHEMA_VERSION)),
    Field("name", _file_name),
    Field("packages", map_of(_words, nullable(_words))),
    Field("inputs", list_of(record(_INTERFACE))),
    Field("outputs", list_of(record((*_INTERFACE, Field("model_tensor", _words, optional=True))))),
    Field("model", _file_name),
    Field("segments", list_of(record(_SEGMENT), least=1, most=_MOST_STAGES)),
    Field("crossing_tensors", list_of(record(_CROSSING))),
    Field("schedule", record(_SCHEDULE)),
    Field("device", _HOSTS, optional=True),
    Field("predicted", figures(8), optional=True, default={}),
    Field("figures", map_of(_words, _words), optional=True, default={}),
    Field("parity", nullable(record(_PARITY))),
    Field("warnings", list_of(_words)),
    Field("recuts", list_of(_words), optional=True, default=[]),
    Field("files", map_of(_file_name, _sha256)),
)
"""All fields of the manifest."""

_FIELDS = record(MANIFEST_FIELDS)
# Files that a folder may hold beside those of its models.
_OTHER_FILES = frozenset({"compile.sh", "Dockerfile", "run_pipeline.py", "report.html"})


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The fields of a manifest, all of them checked; those that were optional have their defaults.

    Raises:
        FieldError: It is no manifest, or of a later version. The message names the field.
    """
    found = parse_json(content, max_depth=_MOST_DEPTH)
    if not isinstance(found, dict):
        raise FieldError(f"Expected an object. Received: {shown(found)}.")
    version = found.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise FieldError(
            f"Field 'schema_version': it was saved with version {version} of the format; this "
            f"release reads versions up to {SCHEMA_VERSION}. Use the release that wrote it, or "
            "convert again."
        )
    # Where it is no version, the table says so.
    read_as = version if isinstance(version, int) and version >= 1 else SCHEMA_VERSION
    manifest: dict[str, Any] = _FIELDS.check(found, "", read_as)
    _check_names(manifest)
    _check_stages(manifest)
    _check_tensors(manifest)
    _check_interface(manifest)
    return manifest


def plain_name(name: str) -> str:
    """A base name for files that any file system takes, as much like the given one as may be."""
    made = "".join(
        "_" if c in '/\\"' or ord(c) < 32 or c == "\x7f" or "\ud800" <= c <= "\udfff" else c
        for c in name
    ).lstrip(".")
    while len(made.encode()) > _NAME_BYTES - len("_segment_100000_of_100000"):
        made = made[:-1]
    return made or "model"


def check_name(name: str) -> None:
    """Check a base name of files.

    Raises:
        FieldError: It is none.
    """
    _check_base("name", name)


def _check_base(path: str, name: str) -> None:
    _file_name.check(name, path, SCHEMA_VERSION)
    if name.startswith(".") or len(name.encode()) > _NAME_BYTES:
        refuse(path, f"a name of at most {_NAME_BYTES} bytes without a dot before it", shown(name))


def _check_names(manifest: Mapping[str, Any]) -> None:
    """Every file has the name that its role gives it, and no other file is listed."""
    name, segments = manifest["name"], manifest["segments"]
    _check_base("name", name)
    _equal("model", manifest["model"], f"{name}.tflite")
    wanted = [manifest["model"]]
    for index, entry in enumerate(segments):
        where = f"segments[{index}]"
        base = entry["name"]
        _check_base(f"{where}.name", base)
        _equal(f"{where}.index", entry["index"], index)
        _equal(f"{where}.file", entry["file"], f"{base}.tflite")
        if entry["compiled_file"] is not None:
            _equal(f"{where}.compiled_file", entry["compiled_file"], f"{base}_edgetpu.tflite")
        if entry["compile_log_file"] is not None:
            _equal(f"{where}.compile_log_file", entry["compile_log_file"], f"{base}_edgetpu.log")
            if entry["compiled_file"] is None:
                refuse(f"{where}.compile_log_file", "null, as there is no compiled file", "a log")
        roles = ("file", "compiled_file", "compile_log_file")
        wanted += [entry[role] for role in roles if entry[role] is not None]
    if len(set(wanted)) < len(wanted):
        twice = next(file for i, file in enumerate(wanted) if file in wanted[:i])
        refuse("segments", "a name of its own for every file", f"{shown(twice)} twice")
    listed = set(manifest["files"])
    for file in wanted:
        if file not in listed:
            refuse("files", f"the hash of {shown(file)}", "none")
    for file in sorted(listed - set(wanted) - _OTHER_FILES):
        refuse("files", f"files of this pipeline, {len(wanted)} models and logs", shown(file))


def _check_stages(manifest: Mapping[str, Any]) -> None:
    """Every op is in one segment, the one that its stage says."""
    stages, segments = manifest["schedule"]["stages"], manifest["segments"]
    seen = 0
    for index, entry in enumerate(segments):
        where = f"segments[{index}].ops"
        if len(set(entry["ops"])) < len(entry["ops"]) or not entry["ops"]:
            refuse(where, "ops, each once", shown(entry["ops"]))
        for op in entry["ops"]:
            if op >= len(stages):
                refuse(where, f"ops of the model, 0 to {len(stages) - 1}", str(op))
            if stages[op] != index:
                refuse(where, f"the ops whose stage is {index}", f"op {op} of stage {stages[op]}")
        seen += len(entry["ops"])
    if seen < len(stages):
        refuse("schedule.stages", f"the stages of {seen} ops, those of all segments", shown(stages))


def _check_tensors(manifest: Mapping[str, Any]) -> None:
    """What a segment reads was made before it, and is described in the same way."""
    segments = manifest["segments"]
    known: dict[str, Any] = {}
    made_in: dict[str, int] = {}
    for index, entry in enumerate(segments):
        for position, tensor in enumerate(entry["inputs"]):
            where = f"segments[{index}].inputs[{position}]"
            _check_quantization(where, tensor)
            if index == 0:
                known.setdefault(tensor["name"], tensor)
            elif tensor["name"] not in known:
                refuse(f"{where}.name", "a tensor of an earlier segment", shown(tensor["name"]))
            _equal_records(where, tensor, known[tensor["name"]])
        for position, tensor in enumerate(entry["outputs"]):
            where = f"segments[{index}].outputs[{position}]"
            _check_quantization(where, tensor)
            if tensor["name"] in known:
                refuse(f"{where}.name", "a name that no other tensor has", shown(tensor["name"]))
            known[tensor["name"]] = tensor
            made_in[tensor["name"]] = index
        for side in ("inputs", "outputs"):
            names = [tensor["name"] for tensor in entry[side]]
            if not names or len(set(names)) < len(names):
                refuse(f"segments[{index}].{side}", "tensors, each once", shown(names))
    read_in: dict[str, list[int]] = {}
    for index, entry in enumerate(segments):
        for tensor in entry["inputs"]:
            read_in.setdefault(tensor["name"], []).append(index)
    expected = [
        {"name": name, "from": stage, "to": read_in.get(name, [])}
        for name, stage in made_in.items()
        if stage < len(segments) - 1
    ]
    found = manifest["crossing_tensors"]
    _equal("crossing_tensors", len(found), len(expected))
    for position, (tensor, right) in enumerate(zip(found, expected, strict=True)):
        _equal_records(f"crossing_tensors[{position}]", right, tensor)


def _check_interface(manifest: Mapping[str, Any]) -> None:
    """The model's inputs are those of the first segment, its outputs those of the last."""
    segments = manifest["segments"]
    properties = [field.name for field in _PROPERTIES]
    sides = (("inputs", segments[0]["inputs"]), ("outputs", segments[-1]["outputs"]))
    for side, tensors in sides:
        by_name = {tensor["name"]: tensor for tensor in tensors}
        names: set[str] = set()
        for position, entry in enumerate(manifest[side]):
            where = f"{side}[{position}]"
            tensor = by_name.get(entry["runner_name"])
            if tensor is None:
                refuse(f"{where}.runner_name", f"one of the {side} of its segment", "another")
            _equal_records(where, {name: tensor[name] for name in properties}, entry)
            if entry["name"] in names:
                refuse(f"{where}.name", "a name of its own", shown(entry["name"]))
            names.add(entry["name"])
            channels = entry["shape"][-1] if entry["shape"] else 1
            _check_normalization(f"{where}.normalization", entry["normalization"], channels)
            if len(entry["labels"]) not in (0, channels):
                refuse(f"{where}.labels", f"{channels}, one per class", shown(entry["labels"]))


def _check_normalization(where: str, given: Mapping[str, Any], channels: int) -> None:
    for what, values in given.items():
        if len(values) not in (1, channels) and (given["mean"] or given["std"]):
            refuse(f"{where}.{what}", f"1 or {channels} numbers, one per channel", shown(values))
    if 0 in given["std"]:
        refuse(f"{where}.std", "numbers above 0", "0")


def _check_quantization(where: str, tensor: Mapping[str, Any]) -> None:
    scale, zero_point, axis = tensor["scale"], tensor["zero_point"], tensor["axis"]
    if scale is None:
        if zero_point is not None or axis is not None:
            refuse(f"{where}.zero_point", "null with scale and axis, or none of them", "a mixture")
        return
    if zero_point is None or axis is None or len(zero_point) != len(scale) or not scale:
        refuse(f"{where}.zero_point", f"{len(scale)} numbers, as scale, and an axis", "others")
    if len(scale) > 1:
        along = tensor["shape"][axis] if axis < len(tensor["shape"]) else None
        _equal(f"{where}.scale", len(scale), along)


def _equal(path: str, received: Any, expected: Any) -> None:
    if received != expected:
        refuse(path, shown(expected), shown(received))


def _equal_records(path: str, expected: Mapping[str, Any], received: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        if received[name] != value:
            refuse(f"{path}.{name}", f"{value!r:.80}", f"{received[name]!r:.80}")


def compiled_names(segments: Iterable[str]) -> set[str]:
    """Names of the files that compiling segments elsewhere makes.

    Args:
        segments: Base names of the segments.
    """
    return {f"{name}_edgetpu.{end}" for name in segments for end in ("tflite", "log")}
