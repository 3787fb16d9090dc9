"""What a person reads about a pipeline."""

from respect_tf.report._compilation import compilation_table
from respect_tf.report._doctor import Finding, examine_installation
from respect_tf.report._inspection import Inspection, inspect
from respect_tf.report._prediction import Speed, StageMemory, StageOnDevice, StageTime
from respect_tf.report._report import Report, StageReport, build_report, format_cost
from respect_tf.report._text import format_bytes, render, table

__all__ = [
    "Finding",
    "Inspection",
    "Report",
    "Speed",
    "StageMemory",
    "StageOnDevice",
    "StageReport",
    "StageTime",
    "build_report",
    "compilation_table",
    "examine_installation",
    "format_bytes",
    "format_cost",
    "inspect",
    "render",
    "table",
]
