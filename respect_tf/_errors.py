"""The errors that respect_tf raises. All derive from `RespectError`."""

from __future__ import annotations

from respect_tf._reporting import printable


class RespectError(Exception):
    """Base of every error that this package raises on purpose.

    A message says what went wrong, where (segment, op, tensor), what was expected, what was
    received, and what to do about it. Control characters in the names it repeats are escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(RespectError, ValueError):
    """An argument has a wrong type, value or combination."""


class InvalidModelError(RespectError, ValueError):
    """A model file is damaged, or breaks a rule that the TFLite format sets."""


class UnsupportedModelError(RespectError, ValueError):
    """A model is valid, but something in it has no place in a pipeline of Edge TPUs."""


class ConversionError(RespectError, RuntimeError):
    """TensorFlow could not convert the model to int8."""


class CalibrationDataError(RespectError, ValueError):
    """The representative dataset does not fit the model's inputs."""


class QuantizationError(RespectError, ValueError):
    """Tensors of the converted model are not 8 bit."""


class GraphError(RespectError, ValueError):
    """Arrays do not describe a directed acyclic graph of ops."""


class ScheduleError(RespectError, ValueError):
    """A schedule is not valid for its graph, or none exists under the constraints."""


class SolverError(RespectError, RuntimeError):
    """A solver contradicts itself, or something that is known without it."""


class SegmentError(RespectError, ValueError):
    """A segment breaks a rule of the pipeline runner."""


class ParityError(RespectError, AssertionError):
    """The segments do not compute, bit for bit, what the whole model computes."""


class CompilerError(RespectError, RuntimeError):
    """Google's compiler is missing or unfit, or could not compile a segment."""


class InterpreterError(RespectError, RuntimeError):
    """The TFLite interpreter refused a model, or died of it."""


class RunnerError(RespectError, RuntimeError):
    """A segment failed while the pipeline ran, or the runner was used after its end."""


class DeviceError(RespectError, RuntimeError):
    """The Edge TPUs cannot be used: a device, its runtime or pycoral is missing."""


class SavedPipelineError(RespectError, OSError):
    """A pipeline folder cannot be written, or what is in it was changed or is missing."""


class DependencyError(RespectError, ImportError):
    """A package that only some functions need is not installed."""


class PolicyFileError(RespectError, ValueError):
    """Weights or labels of the policy are missing, damaged or of another version."""


class TrainingError(RespectError, RuntimeError):
    """Training cannot go on, because a worker is lost; or a label took too long."""
