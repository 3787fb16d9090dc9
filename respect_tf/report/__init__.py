"""What a person reads about a pipeline."""

from respect_tf.report._doctor import Finding, examine_installation
from respect_tf.report._inspection import Inspection, inspect
from respect_tf.report._report import Report, StageReport, build_report
from respect_tf.report._text import format_bytes, render, table

__all__ = [
    "Finding",
    "Inspection",
    "Report",
    "StageReport",
    "build_report",
    "examine_installation",
    "format_bytes",
    "inspect",
    "render",
    "table",
]
