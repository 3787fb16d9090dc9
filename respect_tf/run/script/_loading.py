"""A saved folder's segments, loaded onto devices."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from respect_tf.run.script._advice import what_fits
from respect_tf.run.script._devices import (
    RuntimeMissingError,
    fitting_package,
    list_devices,
    runtime_library,
)
from respect_tf.run.script._folder import Failure, SavedFolder
from respect_tf.run.script._interpreters import DeviceModel
from respect_tf.run.script._packages import InterpreterPackage, LoadError, find_package
from respect_tf.run.script._stages import LoadedModel
from respect_tf.run.script._trial import check_models

BACKENDS = {"litert": "ai_edge_litert", "tflite": "tflite_runtime", "tensorflow": "tensorflow"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where segments run.

    Attributes:
        on_cpu: Whether all of them run on this machine's CPU.
        backend: "auto", one of `BACKENDS`, or "pycoral".
        devices: Names of the Edge TPUs, in the segments' order; None to choose.
        replicas: On how many devices each segment runs; None for what the folder says.
        options: libedgetpu's options.
    """

    on_cpu: bool = False
    backend: str = "auto"
    devices: tuple[str, ...] | None = None
    replicas: tuple[int, ...] | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Loader:
    """Loads segments of a folder, once or again."""

    def __init__(self, folder: SavedFolder, place: Place, program: bytes) -> None:
        """Look for what is needed.

        Args:
            folder: The saved pipeline.
            place: Where it runs.
            program: The text of this program, for the process that tries the models first.

        Raises:
            Failure: Something is missing.
        """
        self._folder = folder
        self._place = place
        self._program = program
        self._pycoral: Any = None
        self.package: InterpreterPackage | None = None
        if place.backend == "pycoral":
            self._pycoral = _load_pycoral()
        else:
            find = find_package if place.on_cpu else fitting_package
            self.package = find(BACKENDS.get(place.backend))
        if self.package is None and self._pycoral is None and place.backend == "auto":
            self._pycoral = _load_pycoral()
        if self.package is None and self._pycoral is None:
            raise Failure(f"{BACKENDS[place.backend]} is not installed. {what_fits()}.")
        if place.on_cpu and self.package is None:
            raise Failure("--cpu needs an interpreter: pip install ai-edge-litert.")

    def device_names(self) -> list[str]:
        """The Edge TPUs that there are, PCIe first.

        Raises:
            Failure: The Edge TPU runtime is missing.
        """
        if self._pycoral is not None:
            kinds = [device["type"] for device in self._pycoral.list_edge_tpus()]
            return [f"{kind}:{i}" for kind in ("pci", "usb") for i in range(kinds.count(kind))]
        try:
            return [device.name for device in list_devices()]
        except RuntimeMissingError as error:
            raise Failure(f"{error}. {what_fits(self.package)}.") from error

    def load_all(self) -> list[list[LoadedModel]]:
        """Of each segment its model on each of its devices.

        Raises:
            Failure: There are too few devices, or a file is missing.
            LoadError: A model cannot be loaded.
        """
        places = self._places()
        if self._pycoral is None and not self._place.on_cpu:
            self._try_first(places)
        models: list[list[LoadedModel]] = []
        try:
            for index, names in enumerate(places):
                models.append([])
                for name in names:
                    models[-1].append(self.load(index, name))
        except BaseException:
            for model in (model for replicas in models for model in replicas):
                model.close()
            raise
        return models

    def load(self, index: int, device: str) -> LoadedModel:
        """One segment on a device.

        Raises:
            Failure: Its file is missing.
            LoadError: It cannot be loaded.
        """
        content = self._folder.model(index, compiled=device != "cpu")
        if self._pycoral is not None and device != "cpu":
            return PycoralModel(self._pycoral, content, device, self._folder, index)
        if self.package is None:
            raise Failure(f"Segment {index} runs on the CPU: pip install ai-edge-litert.")
        try:
            return DeviceModel(
                self.package,
                content,
                device,
                inputs=self._folder.borders(index, "inputs"),
                outputs=self._folder.borders(index, "outputs"),
                library=runtime_library(),
                options=self._place.options,
            )
        except LoadError as error:
            raise LoadError(f"segment {index}: {error}") from error

    def _places(self) -> list[list[str]]:
        """Of each segment, the names of its devices."""
        folder, place = self._folder, self._place
        single = [1] * len(folder.segments)
        counts = list(place.replicas or (single if place.on_cpu else folder.replicas) or single)
        if len(counts) != len(folder.segments) or min(counts) < 1:
            raise Failure(f"--replicas needs {len(folder.segments)} numbers. Received: {counts}.")
        if place.on_cpu:
            return [["cpu"] * count for count in counts]
        needed = self._needed(counts)
        names = list(place.devices or self.device_names()[:needed])
        if not place.replicas and self._needed(single) <= len(names) < needed:
            print(f"{needed} Edge TPUs were planned: with {len(names)}, each segment is on one.")
            counts, needed = single, self._needed(single)
            names = names[:needed]
        if len(names) != needed or len(set(names)) != len(names):
            raise Failure(
                f"The pipeline needs {needed} Edge TPUs, one per segment and replica. "
                f"{'Given' if place.devices else 'Found'}: {', '.join(names) or 'none'}. Check "
                "'lsusb', 'ls /dev/apex_*' and the groups plugdev and apex. --cpu runs the folder "
                "without any."
            )
        rest = iter(names)
        return [
            ["cpu" if folder.on_cpu(index) else next(rest) for _ in range(count)]
            for index, count in enumerate(counts)
        ]

    def _needed(self, counts: Sequence[int]) -> int:
        return sum(n for index, n in enumerate(counts) if not self._folder.on_cpu(index))

    def _try_first(self, places: Sequence[Sequence[str]]) -> None:
        """Each segment on its first device, in a process of its own."""
        models = [
            (self._folder.model(index, compiled=True), names[0])
            for index, names in enumerate(places)
            if names[0] != "cpu"
        ]
        if models and self.package is not None:
            check_models(
                self.package,
                models,
                program=self._program,
                library=runtime_library(),
                options=self._place.options,
            )


class PycoralModel:
    """A segment in an interpreter that pycoral has made."""

    def __init__(
        self, pycoral: Any, content: bytes, device: str, folder: SavedFolder, index: int
    ) -> None:
        """Load it.

        Raises:
            LoadError: It cannot be loaded, or is not this segment's.
        """
        self.device = device
        refused = ""
        try:
            self._interpreter = pycoral.make_interpreter(content, device=device)
            self._interpreter.allocate_tensors()
            self._details = []
            for side, details in (
                ("inputs", self._interpreter.get_input_details()),
                ("outputs", self._interpreter.get_output_details()),
            ):
                self._details.append(_named(details, folder.borders(index, side)))
        except (ValueError, RuntimeError) as error:
            self._interpreter = None
            refused = " ".join(str(error).split())
        if refused:
            raise LoadError(
                f"segment {index} cannot be loaded onto {device}: {refused}. Is the Edge TPU "
                "runtime (libedgetpu1-std) installed, the device plugged in, not in use, and open "
                "to this user (group plugdev or apex)?"
            )

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Run once."""
        entering, leaving = self._details
        for detail, value in zip(entering, inputs):
            self._interpreter.set_tensor(detail["index"], value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in leaving]

    def close(self) -> None:
        """Nothing: the device is given back when nobody knows the interpreter any more."""


def _named(details: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    by_name = {detail["name"]: detail for detail in details}
    if set(by_name) != {name for name, _, _ in wanted}:
        raise ValueError(f"it has the tensors {list(by_name)}, expected {list(wanted)}")
    return [by_name[name] for name, _, _ in wanted]


def _load_pycoral() -> Any:
    """The part of Google's pycoral that lists devices and makes interpreters.

    Raises:
        Failure: It is not installed.
    """
    try:
        module = importlib.import_module("pycoral.utils.edgetpu")
    except (ImportError, OSError) as error:
        raise Failure(
            f"There is no interpreter: no ai_edge_litert, no tflite_runtime, no Google's pycoral "
            f"({error}; the project of that name on PyPI is another one). {what_fits()}."
        ) from error
    return module


def this_program() -> bytes:
    """The text of the program that this function is in."""
    return Path(__file__).read_bytes()
