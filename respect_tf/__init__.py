"""Keras models as verified int8 pipelines for several Coral Edge TPUs.

Importing this package is cheap: TensorFlow is loaded by the first call that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from respect_tf._errors import UnsupportedModelError as UnsupportedModelError
    from respect_tf._hook import Intercepted as Intercepted
    from respect_tf._hook import TFLiteConverter as TFLiteConverter
    from respect_tf._hook import export as export
    from respect_tf._hook import intercept as intercept
    from respect_tf._pipeline import Pipeline as Pipeline
    from respect_tf.device import Calibration as Calibration
    from respect_tf.device import EdgeTpu as EdgeTpu
    from respect_tf.device import Hosts as Hosts
    from respect_tf.device import PipelinePrediction as PipelinePrediction
    from respect_tf.device import calibrate as calibrate
    from respect_tf.device import device_presets as device_presets
    from respect_tf.device import predict as predict
    from respect_tf.graph import OpGraph as OpGraph
    from respect_tf.report import Inspection as Inspection
    from respect_tf.report import inspect as inspect
    from respect_tf.run import Metadata as Metadata
    from respect_tf.schedule import Constraints as Constraints
    from respect_tf.schedule import Latency as Latency
    from respect_tf.schedule import LinearCost as LinearCost
    from respect_tf.schedule import Objective as Objective
    from respect_tf.schedule import PeakMemory as PeakMemory
    from respect_tf.schedule import Schedule as Schedule
    from respect_tf.schedule import Throughput as Throughput
    from respect_tf.schedule import check_schedule as check_schedule
    from respect_tf.schedule import schedule as schedule
    from respect_tf.segment import Segment as Segment
    from respect_tf.segment import segment as segment
    from respect_tf.segment import verify as verify

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
    "UnsupportedModelError",
)

# Public name -> the module that defines it. Loaded at first use.
_EXPORTS = {
    "Calibration": "respect_tf.device",
    "EdgeTpu": "respect_tf.device",
    "Hosts": "respect_tf.device",
    "PipelinePrediction": "respect_tf.device",
    "device_presets": "respect_tf.device",
    "predict": "respect_tf.device",
    "Constraints": "respect_tf.schedule",
    "Inspection": "respect_tf.report",
    "Intercepted": "respect_tf._hook",
    "Latency": "respect_tf.schedule",
    "LinearCost": "respect_tf.schedule",
    "Metadata": "respect_tf.run",
    "Objective": "respect_tf.schedule",
    "OpGraph": "respect_tf.graph",
    "PeakMemory": "respect_tf.schedule",
    "Pipeline": "respect_tf._pipeline",
    "Schedule": "respect_tf.schedule",
    "Segment": "respect_tf.segment",
    "TFLiteConverter": "respect_tf._hook",
    "Throughput": "respect_tf.schedule",
    "calibrate": "respect_tf.device",
    "check_schedule": "respect_tf.schedule",
    "convert": "respect_tf._convert",
    "export": "respect_tf._hook",
    "inspect": "respect_tf.report",
    "intercept": "respect_tf._hook",
    "load": "respect_tf._convert",
    "verify": "respect_tf.segment",
    **dict.fromkeys(_ERRORS, "respect_tf._errors"),
}
# Subpackages that can be called: `respect_tf.schedule(graph, 4)`.
_CALLABLE_SUBPACKAGES = ("schedule", "segment")

__all__ = ["__version__", *sorted({*_EXPORTS, *_CALLABLE_SUBPACKAGES})]  # noqa: PLE0604 - names come from the table


def __getattr__(name: str) -> Any:
    if name in _CALLABLE_SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
