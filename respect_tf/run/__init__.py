"""Running a pipeline."""

from respect_tf.run._bundle import RUN_SCRIPT, run_script
from respect_tf.run._chain import SegmentChain
from respect_tf.run._cpu_runner import CpuRunner, SegmentStatistics
from respect_tf.run._create_runner import RunnerDevice, create_runner
from respect_tf.run._edge_tpu_runner import EdgeTpuRunner
from respect_tf.run._edge_tpus import DeviceCheck, check_edge_tpus, list_edge_tpus
from respect_tf.run._measure import measure_on_cpu
from respect_tf.run._simulation import GanttBar, Simulation, StageTimes
from respect_tf.run._simulator import simulate, stage_times
from respect_tf.run._stream import stream

__all__ = [
    "RUN_SCRIPT",
    "CpuRunner",
    "DeviceCheck",
    "EdgeTpuRunner",
    "GanttBar",
    "RunnerDevice",
    "SegmentChain",
    "SegmentStatistics",
    "Simulation",
    "StageTimes",
    "check_edge_tpus",
    "create_runner",
    "list_edge_tpus",
    "measure_on_cpu",
    "run_script",
    "simulate",
    "stage_times",
    "stream",
]
