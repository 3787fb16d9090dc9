"""What has to fit together in `pipeline.json`, beyond the kinds of its fields.

Nothing here reads a model: a folder that is about to be replaced is judged by this alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from respect_tf._fields import FieldError, parse_json, record, refuse, shown
from respect_tf._manifest_fields import FILE_NAME, MANIFEST_FIELDS, PROPERTIES, SCHEMA_VERSION

MANIFEST = "pipeline.json"
"""The file that tells a folder of ours from any other."""

MOST_MANIFEST_BYTES = 64 * 2**20
"""The largest manifest that is read. Measured: 50 KiB for 100 ops, and 22 bytes for each further
op, so this has room for three million."""

# Lists and objects inside each other: `segments[0].inputs[0].shape` is the deepest of the fields,
# `predicted.stages[0].predicted.ms` of the figures.
_MOST_DEPTH = 12
_NAME_BYTES = 200  # of a base name: the longest ending, "_edgetpu.tflite", has to fit into 255
_FIELDS = record(MANIFEST_FIELDS)
# Files that a folder may hold beside those of its models.
_OTHER_FILES = frozenset(
    {"compile.sh", "Dockerfile", "README.md", "reference.npz", "run_pipeline.py", "report.html"}
)


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The fields of a manifest, all of them checked; those that were optional have their defaults.

    Raises:
        FieldError: It is no manifest, or of a later version. The message names the field.
    """
    found = parse_json(content, max_depth=_MOST_DEPTH, only_finite=False)
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
    read_as = SCHEMA_VERSION
    if isinstance(version, int) and not isinstance(version, bool) and version >= 1:
        read_as = version
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
    FILE_NAME.check(name, path, SCHEMA_VERSION)
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
        if entry["on_cpu"] and entry["compiled_file"] is not None:
            refuse(f"{where}.compiled_file", "null, as the segment runs on the CPU", "a file")
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
    properties = [field.name for field in PROPERTIES]
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
