"""Whether a pipeline can run on Edge TPUs from here, as a checklist."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from respect_tf._errors import DeviceError
from respect_tf.run.script._advice import fits, installed_runtime, what_fits
from respect_tf.run.script._devices import (
    EdgeTpuDevice,
    RuntimeMissingError,
    attached_nodes,
    fitting_package,
    list_devices,
    runtime_version,
)
from respect_tf.run.script._packages import InterpreterPackage
from respect_tf.segmentation import Segment

RunnerBackend = Literal["auto", "litert", "tflite", "tensorflow", "pycoral", "cpu"]

# Names of backends -> import names of the interpreters.
_PACKAGES = {"litert": "ai_edge_litert", "tflite": "tflite_runtime", "tensorflow": "tensorflow"}
_EIGHT_BIT = ("int8", "uint8")


@dataclasses.dataclass(frozen=True)
class DeviceCheck:
    """One line of the checklist.

    Attributes:
        name: What is needed.
        ok: Whether it is there.
        found: What was found.
        remedy: What to do; empty if it is there.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = "" if self.ok else f"\n      {self.remedy}"
        return f"  [{'ok' if self.ok else '--'}] {self.name}: {self.found}{remedy}"


def check_edge_tpus(
    segments: Sequence[Segment],
    *,
    num_devices: int | None = None,
    backend: RunnerBackend = "auto",
) -> tuple[DeviceCheck, ...]:
    """Look for everything that running these segments on Edge TPUs needs.

    Args:
        segments: The segments, in order.
        num_devices: How many Edge TPUs; one per segment that is no CPU stage if left out.
        backend: Which interpreter is to run them.
    """
    wanted = sum(not segment.on_cpu for segment in segments) if num_devices is None else num_devices
    if backend == "pycoral":
        pycoral = check_pycoral(imports=True)
        return (
            pycoral,
            check_devices(wanted, pycoral_devices() if pycoral.ok else None),
            _check_compiled(segments),
            _check_outputs(segments),
            _check_stages(segments),
        )
    return (
        check_interpreter(backend),
        check_runtime(),
        check_devices(wanted),
        _check_compiled(segments),
    )


def device_error(checks: Sequence[DeviceCheck], reason: str = "") -> DeviceError:
    """The error that shows a checklist."""
    lines = "\n".join(map(str, checks))
    return DeviceError(
        f"The pipeline cannot run on Edge TPUs{reason and ': '}{reason}. What it needs:\n{lines}\n"
        'device="cpu" runs it without them.'
    )


def list_edge_tpus() -> tuple[EdgeTpuDevice, ...]:
    """The Edge TPUs that libedgetpu sees, PCIe first; those in use are among them.

    Raises:
        DeviceError: The Edge TPU runtime is not installed.
    """
    try:
        return tuple(list_devices())
    except RuntimeMissingError:
        raise device_error([check_runtime()]) from None


def interpreter_for(backend: RunnerBackend) -> InterpreterPackage | None:
    """The interpreter package that a backend means, if it is installed."""
    return fitting_package(_PACKAGES.get(backend))


def check_interpreter(backend: RunnerBackend = "auto") -> DeviceCheck:
    """Whether there is an interpreter."""
    name = "an interpreter"
    found = interpreter_for(backend)
    if found is not None:
        return DeviceCheck(name, True, str(found))
    wanted = _PACKAGES.get(backend, "ai_edge_litert")
    return DeviceCheck(name, False, f"{wanted} is not installed", f"{what_fits()}.")


def check_runtime() -> DeviceCheck:
    """Whether libedgetpu can be loaded."""
    name = "Edge TPU runtime"
    try:
        return DeviceCheck(name, True, runtime_version() or "of an unknown version")
    except RuntimeMissingError as error:
        return DeviceCheck(name, False, str(error), f"Install libedgetpu. {what_fits()}.")


def check_devices(wanted: int, found: Sequence[str] | None = None) -> DeviceCheck:
    """Whether there are so many Edge TPUs; asked of libedgetpu if nothing is given."""
    name = f"{wanted} Edge TPU{'s' if wanted != 1 else ''}"
    attached = attached_nodes()
    try:
        found = tuple(map(str, list_devices())) if found is None else found
    except RuntimeMissingError:
        found = tuple(str(node) for node in attached)
    shown = f"{len(found)} found{': ' if found else ''}{', '.join(found)}"
    if len(found) >= wanted:
        return DeviceCheck(name, True, shown)
    closed = [str(node) for node in attached if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        remedy = (
            f"This user may not open {', '.join(closed)}: add it to the group plugdev (USB) or "
            "apex (PCIe) and log in again."
        )
    else:
        remedy = (
            "Plug them in (USB: a port with enough power; PCIe: the gasket driver, see "
            "'ls /dev/apex_*'), convert for fewer segments, or let segments take turns on what "
            "there is with share_devices=True, which reloads parameters for every result."
        )
    return DeviceCheck(name, False, shown, remedy)


def check_pycoral(*, imports: bool = False) -> DeviceCheck:
    """Whether there is Google's pycoral.

    Args:
        imports: Whether to import it: for who is about to use it.
    """
    name = "Google's pycoral"
    remedy = (
        "It is not on PyPI: install its wheel for Python 3.9 and older as "
        "https://coral.ai/software says, or use backend='litert', which needs none."
    )
    spec = importlib.util.find_spec("pycoral")
    if spec is None:
        version = ".".join(map(str, sys.version_info[:2]))
        return DeviceCheck(name, False, f"not installed for Python {version}", remedy)
    # Looked at before it is imported: an unrelated package may do anything.
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not any((folder / "pipeline").is_dir() for folder in folders):
        remedy = f"'pip uninstall pycoral' first. {remedy}"
        return DeviceCheck(name, False, f"{_distribution()}, an unrelated project", remedy)
    try:
        if imports:
            pipeline_module()
            edgetpu_module()
    except (ImportError, OSError) as error:
        remedy = "Install the Edge TPU runtime, and the wheel of pycoral for this Python."
        return DeviceCheck(name, False, f"cannot be imported: {error}", remedy)
    return DeviceCheck(name, True, _distribution())


def pycoral_devices() -> tuple[str, ...]:
    """The names of the Edge TPUs that pycoral sees, PCIe first."""
    kinds = [device["type"] for device in edgetpu_module().list_edge_tpus()]
    return tuple(f"{kind}:{index}" for kind in ("pci", "usb") for index in range(kinds.count(kind)))


def fits_together() -> tuple[bool, str, str]:
    """Whether the libedgetpu and the interpreter that are installed are known to go together.

    Returns:
        Whether they are, what there is, and what to do.
    """
    runtime, package = installed_runtime(), fitting_package()
    found = f"libedgetpu {runtime or 'unknown'} with {package or 'no interpreter'}"
    if package is None or not runtime:
        return (
            False,
            found,
            f"not known. {what_fits(package)}; what runs is tried first in any case",
        )
    known = fits(package, runtime)
    return known, found, "" if known else what_fits(package)


def edgetpu_module() -> Any:
    """The module of pycoral that makes interpreters."""
    return importlib.import_module("pycoral.utils.edgetpu")


def pipeline_module() -> Any:
    """The module of pycoral with the pipeline runner."""
    return importlib.import_module("pycoral.pipeline.pipelined_model_runner")


def _distribution() -> str:
    try:
        found = importlib.metadata.metadata("pycoral")
    except importlib.metadata.PackageNotFoundError:
        return "a package named pycoral"
    summary = f" ({found['Summary']})" if found["Summary"] else ""
    return f"pycoral {found['Version']}{summary}"


def _check_compiled(segments: Sequence[Segment]) -> DeviceCheck:
    name = "segments compiled for the Edge TPU"
    missing = [str(s.index) for s in segments if s.compiled is None and not s.on_cpu]
    if not missing:
        return DeviceCheck(name, True, f"all {sum(not s.on_cpu for s in segments)}")
    remedy = (
        "Save the pipeline and run 'respect-tf compile FOLDER' where edgetpu_compiler is installed."
    )
    return DeviceCheck(name, False, f"not segment {', '.join(missing)}", remedy)


def _check_outputs(segments: Sequence[Segment]) -> DeviceCheck:
    name = "8-bit outputs, as pycoral returns no others"
    wide = [f"'{s.name}' is {s.dtype}" for s in segments[-1].outputs if s.dtype not in _EIGHT_BIT]
    if not wide:
        return DeviceCheck(name, True, "yes")
    remedy = 'Convert with inference_output_type="int8" or "uint8", or use another backend.'
    return DeviceCheck(name, False, ", ".join(wide), remedy)


def _check_stages(segments: Sequence[Segment]) -> DeviceCheck:
    name = "no CPU stages, as pycoral's runner has none"
    on_cpu = [str(segment.index) for segment in segments if segment.on_cpu]
    if not on_cpu:
        return DeviceCheck(name, True, "yes")
    found = f"segment {', '.join(on_cpu)} runs on the CPU"
    return DeviceCheck(name, False, found, "Use another backend.")
