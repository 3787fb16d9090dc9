"""Keras models as verified int8 pipelines for several Coral Edge TPUs.

Importing this package is cheap: TensorFlow is loaded by the first call that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from respect_tf._compare import compare as compare
    from respect_tf._convert import ConvertOptions as ConvertOptions
    from respect_tf._convert import convert as convert
    from respect_tf._convert import load as load
    from respect_tf._errors import ArgumentError as ArgumentError
    from respect_tf._errors import CalibrationDataError as CalibrationDataError
    from respect_tf._errors import CompilerError as CompilerError
    from respect_tf._errors import ConversionError as ConversionError
    from respect_tf._errors import DependencyError as DependencyError
    from respect_tf._errors import DeviceError as DeviceError
    from respect_tf._errors import GraphError as GraphError
    from respect_tf._errors import InterpreterError as InterpreterError
    from respect_tf._errors import InvalidModelError as InvalidModelError
    from respect_tf._errors import ParityError as ParityError
    from respect_tf._errors import PolicyFileError as PolicyFileError
    from respect_tf._errors import QuantizationError as QuantizationError
    from respect_tf._errors import RespectError as RespectError
    from respect_tf._errors import RunnerError as RunnerError
    from respect_tf._errors import SavedPipelineError as SavedPipelineError
    from respect_tf._errors import ScheduleError as ScheduleError
    from respect_tf._errors import SegmentError as SegmentError
    from respect_tf._errors import SolverError as SolverError
    from respect_tf._errors import TrainingError as TrainingError
    from respect_tf._errors import UnsupportedModelError as UnsupportedModelError
    from respect_tf._estimate import Estimate as Estimate
    from respect_tf._estimate import estimate as estimate
    from respect_tf._fleet import Fleet as Fleet
    from respect_tf._fleet import plan_fleet as plan_fleet
    from respect_tf._hook import TFLiteConverter as TFLiteConverter
    from respect_tf._hook import export as export
    from respect_tf._inspect import PipelineInspection as PipelineInspection
    from respect_tf._inspect import inspect as inspect
    from respect_tf._intercept import intercept as intercept
    from respect_tf._pipeline import Pipeline as Pipeline
    from respect_tf._plan import Plan as Plan
    from respect_tf._plan import plan as plan
    from respect_tf._tuning import speed_limited as speed_limited
    from respect_tf.device import Calibration as Calibration
    from respect_tf.device import EdgeTpu as EdgeTpu
    from respect_tf.device import Hosts as Hosts
    from respect_tf.device import PipelinePrediction as PipelinePrediction
    from respect_tf.device import calibrate as calibrate
    from respect_tf.device import device_presets as device_presets
    from respect_tf.device import predict as predict
    from respect_tf.graph import OpGraph as OpGraph
    from respect_tf.report import FloatComparison as FloatComparison
    from respect_tf.report import Inspection as Inspection
    from respect_tf.report import ModelInspection as ModelInspection
    from respect_tf.scheduling import Constraints as Constraints
    from respect_tf.scheduling import Latency as Latency
    from respect_tf.scheduling import LinearCost as LinearCost
    from respect_tf.scheduling import Objective as Objective
    from respect_tf.scheduling import PeakMemory as PeakMemory
    from respect_tf.scheduling import Schedule as Schedule
    from respect_tf.scheduling import Throughput as Throughput
    from respect_tf.scheduling import check_schedule as check_schedule
    from respect_tf.scheduling import schedule as schedule
    from respect_tf.segmentation import Metadata as Metadata
    from respect_tf.segmentation import Segment as Segment
    from respect_tf.segmentation import segment as segment
    from respect_tf.segmentation import verify as verify

__version__ = "0.2.0"

_ERRORS = (
    "ArgumentError",
    "CalibrationDataError",
    "CompilerError",
    "ConversionError",
    "DependencyError",
    "DeviceError",
    "GraphError",
    "InterpreterError",
    "InvalidModelError",
    "ParityError",
    "PolicyFileError",
    "QuantizationError",
    "RespectError",
    "RunnerError",
    "SavedPipelineError",
    "ScheduleError",
    "SegmentError",
    "SolverError",
    "TrainingError",
    "UnsupportedModelError",
)

# Public name -> the module that defines it. Loaded at first use.
_EXPORTS = {
    "Calibration": "respect_tf.device",
    "FloatComparison": "respect_tf.report",
    "EdgeTpu": "respect_tf.device",
    "Hosts": "respect_tf.device",
    "PipelinePrediction": "respect_tf.device",
    "device_presets": "respect_tf.device",
    "predict": "respect_tf.device",
    "Constraints": "respect_tf.scheduling",
    "ConvertOptions": "respect_tf._convert",
    "Inspection": "respect_tf.report",
    "Latency": "respect_tf.scheduling",
    "LinearCost": "respect_tf.scheduling",
    "Metadata": "respect_tf.segmentation",
    "Objective": "respect_tf.scheduling",
    "Estimate": "respect_tf._estimate",
    "Fleet": "respect_tf._fleet",
    "estimate": "respect_tf._estimate",
    "plan_fleet": "respect_tf._fleet",
    "speed_limited": "respect_tf._tuning",
    "ModelInspection": "respect_tf.report",
    "PipelineInspection": "respect_tf._inspect",
    "OpGraph": "respect_tf.graph",
    "PeakMemory": "respect_tf.scheduling",
    "Pipeline": "respect_tf._pipeline",
    "Plan": "respect_tf._plan",
    "Schedule": "respect_tf.scheduling",
    "Segment": "respect_tf.segmentation",
    "TFLiteConverter": "respect_tf._hook",
    "Throughput": "respect_tf.scheduling",
    "calibrate": "respect_tf.device",
    "check_schedule": "respect_tf.scheduling",
    "compare": "respect_tf._compare",
    "convert": "respect_tf._convert",
    "export": "respect_tf._hook",
    "inspect": "respect_tf._inspect",
    "intercept": "respect_tf._intercept",
    "load": "respect_tf._convert",
    "plan": "respect_tf._plan",
    "schedule": "respect_tf.scheduling",
    "segment": "respect_tf.segmentation",
    "verify": "respect_tf.segmentation",
    **dict.fromkeys(_ERRORS, "respect_tf._errors"),
}

__all__ = ["__version__", *sorted(_EXPORTS)]  # noqa: PLE0604 - names come from the table


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
