"""The Edge TPU as a model: memory, time, supported ops."""

from respect_tf.device._batch import Stages, batch_stages, is_quick, rooms_of, unstreamed
from respect_tf.device._calibrate import Calibration, calibrate
from respect_tf.device._chip import ChipCosts, with_less_room
from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._cpu_ops import CpuOp
from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._events import StageTimes, play, stage_times
from respect_tf.device._hosts import (
    DeviceLike,
    Hosts,
    devices_dict,
    devices_from,
    devices_of,
    first_device,
    resolve_device,
)
from respect_tf.device._instructions import instruction_bytes, instruction_features
from respect_tf.device._mapping_notes import blocking_remarks, mapping_remarks
from respect_tf.device._measurement_rows import labelled_rows
from respect_tf.device._parameters import Parameters, op_parameters
from respect_tf.device._prediction import (
    HOST_CORES,
    MARGINS,
    PipelinePrediction,
    StagePrediction,
    predict,
)
from respect_tf.device._presets import device_presets, device_table
from respect_tf.device._queueing import PERCENTILES, Load, checked_rate, under_load
from respect_tf.device._support import (
    ACCEPTED_VERSIONS,
    blocking_reason,
    mapping_doubts,
    size_reason,
    unmapped_ops,
    unsupported_reason,
    version_warning,
)
from respect_tf.device._tiles import fit_blocks
from respect_tf.device._transfers import stage_tensors

__all__ = [
    "ACCEPTED_VERSIONS",
    "HOST_CORES",
    "MARGINS",
    "MIB",
    "PERCENTILES",
    "Calibration",
    "ChipCosts",
    "CpuOp",
    "DeviceCosts",
    "DeviceLike",
    "EdgeTpu",
    "Hosts",
    "Load",
    "Parameters",
    "PipelinePrediction",
    "StageCost",
    "StagePrediction",
    "StageTimes",
    "Stages",
    "batch_stages",
    "blocking_reason",
    "blocking_remarks",
    "calibrate",
    "checked_rate",
    "device_presets",
    "device_table",
    "devices_dict",
    "devices_from",
    "devices_of",
    "first_device",
    "fit_blocks",
    "instruction_bytes",
    "instruction_features",
    "is_quick",
    "labelled_rows",
    "mapping_doubts",
    "mapping_remarks",
    "op_parameters",
    "play",
    "predict",
    "resolve_device",
    "rooms_of",
    "size_reason",
    "stage_tensors",
    "stage_times",
    "under_load",
    "unmapped_ops",
    "unstreamed",
    "unsupported_reason",
    "version_warning",
    "with_less_room",
]
