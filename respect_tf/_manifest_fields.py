"""The fields of `pipeline.json`: one closed table of all versions."""

from __future__ import annotations

from respect_tf._fields import (
    Field,
    boolean,
    changed,
    figures,
    list_of,
    map_of,
    nullable,
    number,
    one_of,
    record,
    text,
    whole,
)

SCHEMA_VERSION = 3
"""What this release writes; it reads all versions up to it."""

_MOST = 2**63 - 1  # bytes, milliseconds: what int64 holds, and no sum of them is infinite
_MOST_INDEX = 2**31 - 1  # TFLite's own indices are int32
_MOST_STAGES = 100_000  # a folder has a file per stage, and file systems slow down beyond
_DTYPES = (
    *("int4", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "bool", "complex64", "complex128"),
)

_words = text()
_size = whole(0, _MOST)
_stage = whole(0, _MOST_STAGES)
_amount = number(0, 1e15)  # constants of devices; a product of four of them is finite
_at_least_one = number(1, 1e15)
_measure = number(0, _MOST)
_finite = number(-3.5e38, 3.5e38)  # float32, as the model has them
_pairs = list_of(list_of(_amount, least=2, most=2), most=1000)
_sha256 = text("a SHA-256 in 64 lower-case hexadecimal digits", pattern="[0-9a-f]{64}")
FILE_NAME = text(
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

PROPERTIES = (
    Field("dtype", one_of(*_DTYPES)),
    Field("shape", list_of(whole(0, _MOST_INDEX), most=64)),
    Field("scale", nullable(list_of(_finite))),
    Field("zero_point", nullable(list_of(whole(-(2**63), _MOST)))),
    Field("axis", nullable(whole(0, 63))),
)
_TENSOR = (Field("name", _words), Field("tensor", whole(0, _MOST_INDEX)), *PROPERTIES)
_NORMALIZATION = (
    Field("mean", list_of(number(-1e300, 1e300))),
    Field("std", list_of(number(0, 1e300))),
)
_INTERFACE = (
    Field("name", _words),
    Field("runner_name", _words),
    *PROPERTIES,
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
    Field("name", FILE_NAME),
    Field("file", FILE_NAME),
    Field("compiled_file", nullable(FILE_NAME)),
    Field("compile_log_file", nullable(FILE_NAME), optional=True),
    Field("parameter_bytes", _size),
    Field("ops", list_of(whole(0, _MOST_INDEX))),
    Field("inputs", list_of(record(_TENSOR))),
    Field("outputs", list_of(record(_TENSOR))),
    Field("on_cpu", boolean(), since=3, default=False),
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
    Field("status", one_of("optimal", "optimal within 1e-6", "feasible")),
    Field("device", _HOSTS, optional=True),
    Field("optima", nullable(list_of(_measure)), since=2),
    Field("proposal_cost", nullable(_measure), since=3),
)
_DEVICE_COUNT = (
    Field("num_devices", whole(0, 1000)),
    Field("replicas", list_of(whole(1, 1000))),
    Field("frames_per_second", nullable(_measure)),
)
_PARITY = (Field("num_inputs", _size), Field("num_tensors", _size), Field("num_bytes", _size))

_COMPARISON = (
    Field("one_tpu_ms", _measure),
    Field("compiler_ms", _measure),
    Field("fewer_ms", list_of(_measure), optional=True, default=[]),  # of earlier folders
)

# What is optional in version 1 is what its first folders did not have.
MANIFEST_FIELDS = (
    Field("schema_version", whole(1, SCHEMA_VERSION)),
    Field("name", FILE_NAME),
    Field("packages", map_of(_words, nullable(_words))),
    Field("inputs", list_of(record(_INTERFACE))),
    Field("outputs", list_of(record((*_INTERFACE, Field("model_tensor", _words, optional=True))))),
    Field("model", FILE_NAME),
    Field("segments", list_of(record(_SEGMENT), least=1, most=_MOST_STAGES)),
    Field("crossing_tensors", list_of(record(_CROSSING))),
    Field("schedule", record(_SCHEDULE)),
    Field("device", _HOSTS, optional=True),
    Field("replicas", list_of(whole(1, 1000)), since=3, default=[]),
    Field("choice", nullable(_words), since=3, default=None),
    Field("frames_by_devices", list_of(record(_DEVICE_COUNT)), since=3, default=[]),
    Field("predicted", figures(8), optional=True, default={}),
    Field("comparison", nullable(record(_COMPARISON)), optional=True, default=None),
    Field("figures", map_of(_words, _words), optional=True, default={}),
    Field("parity", nullable(record(_PARITY))),
    Field("made", nullable(_words), optional=True, default=None),
    Field("warnings", list_of(_words)),
    Field("recuts", list_of(_words), optional=True, default=[]),
    Field("rewritten", list_of(_words), optional=True, default=[]),
    Field("files", map_of(FILE_NAME, _sha256)),
)
"""All fields of the manifest."""
