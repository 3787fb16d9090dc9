"""What a person reads about a pipeline."""

from respect_tf.report._comparison import Comparison, compare_speed
from respect_tf.report._compilation import compilation_table
from respect_tf.report._doctor import examine_installation
from respect_tf.report._doctor_devices import examine_devices
from respect_tf.report._drawing import draw_figure
from respect_tf.report._finding import Finding
from respect_tf.report._fleet_text import fleet_text
from respect_tf.report._float_comparison import FloatComparison
from respect_tf.report._gantt import Gantt, draw_gantt
from respect_tf.report._inspection import Inspection, inspect_tflite
from respect_tf.report._model_explorer import model_explorer_overlays
from respect_tf.report._model_inspection import ModelInspection, UnmappedOps, inspect_model
from respect_tf.report._placed_graph import PlacedGraph
from respect_tf.report._plan_text import choice, plan_dict, plan_html, plan_text
from respect_tf.report._plot_plan import plot_plan
from respect_tf.report._prediction import Speed, StageOnDevice, stages_on_device
from respect_tf.report._report import Report, StageReport, build_report
from respect_tf.report._report_text import format_cost
from respect_tf.report._schedule_picture import schedule_picture
from respect_tf.report._stage_pictures import memory_picture, pipeline_picture
from respect_tf.report._text import format_bytes, render, table
from respect_tf.report._trace import chrome_trace

__all__ = [
    "Comparison",
    "Finding",
    "FloatComparison",
    "Gantt",
    "Inspection",
    "ModelInspection",
    "PlacedGraph",
    "Report",
    "Speed",
    "StageOnDevice",
    "StageReport",
    "UnmappedOps",
    "build_report",
    "choice",
    "chrome_trace",
    "compare_speed",
    "compilation_table",
    "draw_figure",
    "draw_gantt",
    "examine_devices",
    "examine_installation",
    "fleet_text",
    "format_bytes",
    "format_cost",
    "inspect_model",
    "inspect_tflite",
    "memory_picture",
    "model_explorer_overlays",
    "pipeline_picture",
    "plan_dict",
    "plan_html",
    "plan_text",
    "plot_plan",
    "render",
    "schedule_picture",
    "stages_on_device",
    "table",
]
