"""Running a pipeline."""

from respect_tf.run._bundle import RUN_README, RUN_SCRIPT, run_readme, run_script
from respect_tf.run._chain import SegmentChain
from respect_tf.run._create_runner import RunnerDevice, create_runner
from respect_tf.run._device_checks import (
    DeviceCheck,
    RunnerBackend,
    check_edge_tpus,
    check_interpreter,
    check_pycoral,
    check_runtime,
    fits_together,
    list_edge_tpus,
)
from respect_tf.run._fleet_simulator import Arrivals, FleetSimulation, Station, simulate_fleet
from respect_tf.run._measure import measure_on_cpu
from respect_tf.run._pycoral_runner import PycoralRunner
from respect_tf.run._reference import REFERENCE, reference_file
from respect_tf.run._runner import PipelineRunner
from respect_tf.run._simulation import GanttBar, Simulation
from respect_tf.run._simulator import simulate
from respect_tf.run._stream import stream
from respect_tf.run.script._devices import EdgeTpuDevice
from respect_tf.run.script._stages import StageStatistics

__all__ = [
    "REFERENCE",
    "RUN_README",
    "RUN_SCRIPT",
    "Arrivals",
    "DeviceCheck",
    "EdgeTpuDevice",
    "FleetSimulation",
    "GanttBar",
    "PipelineRunner",
    "PycoralRunner",
    "RunnerBackend",
    "RunnerDevice",
    "SegmentChain",
    "Simulation",
    "StageStatistics",
    "Station",
    "check_edge_tpus",
    "check_interpreter",
    "check_pycoral",
    "check_runtime",
    "create_runner",
    "fits_together",
    "list_edge_tpus",
    "measure_on_cpu",
    "reference_file",
    "run_readme",
    "run_script",
    "simulate",
    "simulate_fleet",
    "stream",
]
