"""The Edge TPU as a model: memory, time, supported ops."""

from respect_tf.device._calibrate import Calibration, calibrate
from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._edge_tpu import EdgeTpu, resolve_device
from respect_tf.device._instructions import instruction_bytes, instruction_features
from respect_tf.device._measurements import (
    Design,
    Measurement,
    StageWork,
    fit_constants,
    stage_work,
)
from respect_tf.device._parameters import Parameters, op_parameters
from respect_tf.device._prediction import (
    MARGINS,
    CpuOp,
    PipelinePrediction,
    StagePrediction,
    predict_pipeline,
    stage_tensors,
)
from respect_tf.device._support import (
    ACCEPTED_VERSIONS,
    blocking_reason,
    mapping_doubts,
    unmapped_ops,
    unsupported_reason,
    version_warning,
)

__all__ = [
    "ACCEPTED_VERSIONS",
    "MARGINS",
    "Calibration",
    "CpuOp",
    "Design",
    "DeviceCosts",
    "EdgeTpu",
    "Measurement",
    "Parameters",
    "PipelinePrediction",
    "StageCost",
    "StagePrediction",
    "StageWork",
    "blocking_reason",
    "calibrate",
    "fit_constants",
    "instruction_bytes",
    "instruction_features",
    "mapping_doubts",
    "op_parameters",
    "predict_pipeline",
    "resolve_device",
    "stage_tensors",
    "stage_work",
    "unmapped_ops",
    "unsupported_reason",
    "version_warning",
]
