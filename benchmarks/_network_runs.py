"""Public times of whole models and segments, each with the work that the device does for it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB, TimeRow, time_rows
from benchmarks._device_rows import measured_networks
from benchmarks._graph_builder import GraphBuilder
from benchmarks.networks import network
from respect_tf.device import DeviceCosts, EdgeTpu, stage_tensors
from respect_tf.device._compute import op_work
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

SESSION = "usb3-pi5, one request in flight"
"""The host of `segment_runs`."""

_FULL, _STANDARD = 500.0, 250.0  # MHz
_CHANNELS = 4  # maps that leave the device are padded to so many
# Bytes of instructions: a segment's own, by op, and by MiB of a map above 1.5 MiB (hosts.md of the
# public data: fitted to 74 compiled models, median error 23 %).
_BASE, _OTHER, _PER_MAP_MIB, _SMALL_MAP = 4000.0, 1400.0, 15800.0, 1.5
_PER_OP = {
    "CONV_2D": 2000.0, "TRANSPOSE_CONV": 2000.0, "DEPTHWISE_CONV_2D": 1100.0,
    "FULLY_CONNECTED": 1700.0, "SOFTMAX": 30000.0,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What one inference takes, whatever the host.

    Attributes:
        kinds: float64 [num_ops, len(PRICES)], work on the chip.
        streamed_mib: float64 [num_ops], MiB of parameters that come while the op computes.
        passes: int64 [num_ops], which entry of `EdgeTpu.strip_passes` says how often they come;
            0 for once.
        input_mib: MiB of inputs.
        sent_mib: MiB of instructions and of constants that are sent whatever room there is, and
            cached parameters that the measurement loaded anew.
        outputs: Bytes of each tensor that comes back, channels padded.
        gmacs: 10**9 multiply-accumulates without padding.
    """

    kinds: Floats
    streamed_mib: Floats
    passes: npt.NDArray[np.int64]
    input_mib: float
    sent_mib: float
    outputs: tuple[float, ...]
    gmacs: float


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One measured time.

    Attributes:
        group: `"networks"`, `"stacks"`, `"dense stacks"`, `"segments"` or `"probes"`.
        name: What ran; runs of one name are left out together.
        host: A name of hosts.csv, or `SESSION`.
        clock_mhz: The chip's clock.
        source: Who measured.
        ms: Time of one inference.
        work: What it takes.
    """

    group: str
    name: str
    host: str
    clock_mhz: float
    source: str
    ms: float
    work: Work

    @property
    def streams(self) -> bool:
        """Whether parameters are streamed, those of elementwise ops aside."""
        return bool(self.work.streamed_mib.any())


def work_of(
    graph: OpGraph,
    ops: Sequence[int] | None = None,
    stage_of: npt.NDArray[np.int64] | None = None,
    *,
    reload: bool = False,
    streamed_mib: float | None = None,
    instruction_bytes: float | None = None,
) -> Work:
    """The work of a graph, or of a segment of it.

    Args:
        graph: The graph.
        ops: The segment's ops; all where left out.
        stage_of: int64 [num_ops], the segment of each op.
        reload: Whether cached parameters were loaded anew.
        streamed_mib: What the compiler's log printed as streamed; the last layers are, as far as
            they add up to it. Predicted where left out.
        instruction_bytes: Those of the compiled file. Predicted where left out.
    """
    ops = range(graph.num_ops) if ops is None else ops
    stage_of = np.zeros(graph.num_ops, np.int64) if stage_of is None else stage_of
    entering, leaving = stage_tensors(graph, stage_of, int(stage_of[ops[0]]))
    costs = DeviceCosts.of(graph, _chip())
    cost = costs.stage(list(ops), entering, leaving)
    mapped = [op for op in ops if op not in cost.cpu_ops]
    parameters = costs.parameters
    own = (parameters.stored - parameters.streamed)[mapped] / MIB
    is_streamed = np.isin(mapped, cost.streamed_ops)
    if streamed_mib is not None:
        is_streamed = np.cumsum(own[::-1])[::-1] <= streamed_mib * (1 + 1e-3)
    always = float(parameters.streamed[mapped].sum()) / MIB
    if instruction_bytes is None:
        instruction_bytes = _instructions(graph, mapped)
    return Work(
        kinds=op_work(graph)[mapped],
        streamed_mib=np.where(is_streamed, own, 0.0),
        passes=np.where(is_streamed, costs.chip.strip_step[mapped], 0),
        input_mib=float(graph.tensor_bytes[entering].sum()) / MIB,
        sent_mib=instruction_bytes / MIB + always + (cost.cached_bytes / MIB if reload else 0.0),
        outputs=tuple(_padded(graph, tensor) for tensor in leaving),
        gmacs=float(graph.macs[mapped].sum()) / 1e9,
    )


@functools.cache
def _chip() -> EdgeTpu:
    """A device with the chip's memory; its times are not used."""
    return EdgeTpu.preset("pcie-m2")


def _instructions(graph: OpGraph, ops: Sequence[int]) -> float:
    made = [float(graph.tensor_bytes[graph.outputs_of(op)].sum()) / MIB for op in ops]
    return (
        _BASE
        + sum(_PER_OP.get(graph.op_types[op], _OTHER) for op in ops)
        + _PER_MAP_MIB * sum(max(0.0, size - _SMALL_MAP) for size in made)
    )


def _padded(graph: OpGraph, tensor: int) -> float:
    channels = graph.tensor_shapes[tensor][-1]
    return float(graph.tensor_bytes[tensor]) / channels * (-(-channels // _CHANNELS) * _CHANNELS)


_PUBLISHED = {
    "Unet Mv2 (128x128)": "U-Net MobileNet v2",
    "DenseNet (224x224)": "DenseNet121",
    "Inception v1 (224x224)": "Inception v1",
    "Inception v4 (299x299)": "Inception v4",
    "Inception-ResNet V2 (299x299)": "Inception-ResNet v2",
    "MobileNet v1 (224x224)": "MobileNet v1",
    "MobileNet v2 (224x224)": "MobileNet v2",
    "MobileNet v1 SSD (224x224)": "SSD MobileNet v1",
    "MobileNet v2 SSD (224x224)": "SSD MobileNet v2",
    "ResNet-50 V1 (299x299)": "ResNet-50 v1",
    "ResNet-50 V2 (299x299)": "ResNet-50 v2",
    "ResNet-152 V2 (299x299)": "ResNet-152 v2",
    "SqueezeNet (224x224)": "SqueezeNet",
    "VGG16 (224x224)": "VGG16",
    "VGG19 (224x224)": "VGG19",
    "EfficientNet-EdgeTpu-S": "EfficientNet-EdgeTpu S",
    "EfficientNet-EdgeTpu-M": "EfficientNet-EdgeTpu M",
    "inception_v1_224_quant_edgetpu.tflite": "Inception v1",
    "inception_v4_299_quant_edgetpu.tflite": "Inception v4",
    "mobilenet_v1_1.0_224_quant_edgetpu.tflite": "MobileNet v1",
    "mobilenet_v2_1.0_224_quant_edgetpu.tflite": "MobileNet v2",
    "mobilenet_v2_1.0_224_inat_bird_quant": "MobileNet v2",
    "mobilenet_v2_1.0_224": "MobileNet v2",
    "mobilenet_v1": "MobileNet v1",
    "efficientnet-edgetpu-L": "EfficientNet-EdgeTpu L",
}
# Which host of hosts.csv a row's device is, and the chip's clock. Google's runtime was "max": its
# table and its reference files agree on the PC. The Jetson's was too: at 250 MHz MobileNet v2
# would take 3.9 ms there, not 2.5, and convolutions of 7x7 twice what they did.
_DEVICES = (
    ("USB Accelerator + desktop Xeon", "USB3", "usb3-pc", _FULL),
    ("x86-64 host + USB", "USB3", "usb3-pc", _FULL),
    ("i9-13900K + USB", "USB3", "usb3-pc", _STANDARD),
    ("Dev Board (iMX8M", "PCIe", "pcie-devboard", _FULL),
    ("Coral Dev Board", "PCIe", "pcie-devboard", _FULL),
    ("Raspberry Pi 3B", "USB2", "usb2-pi3", _FULL),
    ("Raspberry Pi 4", "USB3", "usb3-pi4", _FULL),
    ("Jetson Nano 10W", "USB3", "usb3-jetson", _FULL),
    ("Jetson Nano 10W", "USB2", "usb2-jetson", _FULL),
)


def network_runs() -> list[Run]:
    """Whole networks of latency.csv, and those of public_latencies.csv that can be built."""
    runs = []
    for row in _rows("latency.csv"):
        name, host = _PUBLISHED.get(row["model"]), _host(row)
        if name is None or host is None or "resize" in row["mode"]:
            continue
        runs.append(_whole(name, *host, row["source"].split(" benchmark")[0], row["latency_ms"]))
    for host, clock, name, ms in _FURTHER:
        runs.append(_whole(name, host, clock, _LATENCIES, ms))
    graph = OpGraph.from_tflite(DATA / "compiled" / "more" / "mobilefacenet.tflite")
    work = work_of(graph, instruction_bytes=_FACE_INSTRUCTIONS)
    return [*runs, Run("networks", "MobileFaceNet", "usb3-pi5", _STANDARD, _LATENCIES, 4.97, work)]


_LATENCIES = "public_latencies.csv"
_FACE_INSTRUCTIONS = 275_360  # bytes, in a trace of its USB transfers
# Rows of public_latencies.csv, with the clock that the time tells: "std" is the packaged runtime.
_FURTHER = (
    ("usb3-pi5", _STANDARD, "MobileNet v2", "4.43"),
    ("usb3-pc", _FULL, "MobileNet v1", "2.7"),
    ("usb3-pc", _STANDARD, "MobileNet v1", "3.92"),
    ("usb3-pc", _FULL, "U-Net MobileNet v2", "3.3"),
    ("pcie-m2", _FULL, "MobileNet v2", "2.4"),
    ("usb2-pi3", _FULL, "MobileNet v1", "9.5"),
)


def _whole(name: str, host: str, clock: float, source: str, ms: str) -> Run:
    return Run("networks", name, host, clock, source, float(ms), _work_of_network(name))


@functools.cache
def _work_of_network(name: str) -> Work:
    return work_of(network(name))


def stack_runs() -> list[Run]:
    """Stacks of convolutions and of dense layers on one M.2 module; repeats are a median."""
    repeats: dict[Hashable, list[TimeRow]] = collections.defaultdict(list)
    for row in time_rows()[0]:
        if len(row.stack.stages) == 1 and not row.through_runner:
            repeats[row.stack].append(row)
    runs = []
    for rows in repeats.values():
        stack = rows[0].stack
        group = "stacks" if stack.kind == "conv" else "dense stacks"
        ms = float(np.median([row.ms for row in rows]))
        name = f"{stack.kind} {stack.width}"
        runs.append(Run(group, name, "pcie-m2", _FULL, "Jorgitou98", ms, work_of(stack.graph)))
    return runs


def segment_runs() -> list[Run]:
    """Segments of Keras networks on a Raspberry Pi 5, parameters loaded at every inference."""
    runs = []
    for name, (graph, rows, segments) in measured_networks().items():
        stage_of = np.empty(graph.num_ops, np.int64)
        for index, ops in enumerate(segments):
            stage_of[ops] = index
        for row, ops in zip(rows, segments, strict=True):
            work = work_of(graph, ops, stage_of, reload=True)
            ms = float(row["invoke_ms"])
            runs.append(Run("segments", name, SESSION, _FULL, "pm2550", ms, work))
    return runs


def probe_runs() -> list[Run]:
    """Single ops and deep stacks on a Jetson Nano, over USB 3 and USB 2 (iwatake2222)."""
    runs = []
    for row in _rows("latency.csv"):
        host = _host(row)
        if not row["source"].startswith("iwatake2222") or host is None:
            continue
        for pattern, build in _PROBES:
            if match := re.search(pattern, row["model"]):
                graph = build(*(int(number) for number in match.groups()))
                off = row["off_chip_mib"]
                work = work_of(graph, streamed_mib=float(off) if off else None)
                group = "deep stacks" if off else "probes"
                name = f"{group} {match[0]}"
                runs.append(Run(group, name, *host, "iwatake2222", float(row["latency_ms"]), work))
    return runs


def _sliced(height: int, width: int) -> OpGraph:
    net = GraphBuilder((height, width, 3), per_channel=False)
    net.plain("STRIDED_SLICE", net.image, (1, 1, 1, 3))
    return net.graph()


def _padded_image(height: int, width: int) -> OpGraph:
    net = GraphBuilder((2, 2, 3), per_channel=False)
    net.pad(net.image, 0, (height - 2, width - 2))
    return net.graph()


def _deep_convolutions(count: int) -> OpGraph:
    """As the model of ten that is public: what is padded on the chip, and one pixel leaves."""
    net = GraphBuilder((2, 2, 3), per_channel=False)
    here = net.pad(net.image, 63, 63)
    for _ in range(count):
        here = net.conv(here, 32, 7)
    net.conv(here, 1, 1, 128)
    return net.graph()


def _deep_dense(units: int, count: int) -> OpGraph:
    net = GraphBuilder((2, 2, 3), per_channel=False)
    here = net.image
    for _ in range(count):
        here = net.dense(here, units)
    net.dense(here, 1)
    return net.graph()


_PROBES: tuple[tuple[str, Callable[..., OpGraph]], ...] = (
    (r"strided-slice in (\d+)x(\d+)x3", _sliced),
    (r"^pad in 2x2x3 out (\d+)x(\d+)x3", _padded_image),
    (r"7x7, n=(\d+)", _deep_convolutions),
    (r"units=(\d+) layers=(\d+)", _deep_dense),
)


def _host(row: dict[str, str]) -> tuple[str, float] | None:
    for device, interface, host, clock in _DEVICES:
        if row["device"].startswith(device) and row["interface"] == interface:
            return host, clock
    return None


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / "measurements" / name).open(newline="") as file:
        return list(csv.DictReader(file))
