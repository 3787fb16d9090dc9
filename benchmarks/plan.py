"""What plans say of 1 to 8 devices: on each host, against published choices, in the simulator."""

from __future__ import annotations

import csv
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import respect_tf
from benchmarks._detectors import DETECTORS
from benchmarks._device_data import DATA
from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import write_results
from respect_tf.graph import OpGraph
from respect_tf.run import simulate

NUM_DEVICES = 8
_LINKS = ("usb3", "usb2", "pcie")
_SHOWN = (1, 2, 4, 8)
_PCIE = "pcie-card"
_PUBLISHED = DATA / "measurements" / "multi_tpu.csv"
_ROUNDING = 1 + 1e-9
# Where two stages, or one and the bus, are almost as slow, it takes thousands until one waits.
_NUM_SIMULATED = 10_000


def main() -> None:
    """Measure and write `results/plan_hosts.md` and `results/plan_published.md`."""
    graphs = {name: OpGraph.from_tflite(int8_model(name)) for name in TEN_MODELS}
    write_results("plan_hosts", "Plans for 1 to 8 devices", host_rows(graphs), _HOST_NOTES)
    if _PUBLISHED.exists():
        write_published()


def write_published() -> None:
    """Measure and write `results/plan_published.md`."""
    rows = published_rows()
    fewest, planned = "published speed-up", "planned speed-up"
    later = [row for row in rows if row[fewest] > 1]
    ratios = [row[planned] / row[fewest] for row in later]
    apart = [abs(row["planned segments"] - row["published segments"]) for row in rows]
    found = (
        f"Of {len(rows)} settings, {apart.count(0)} have as many segments as published and "
        f"{apart.count(1)} one more or less. Planned / published speed-up: median "
        f"{statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}; "
        f"{sum(abs(one - 1) <= 0.15 for one in ratios)} of {len(ratios)} are within 15 %."
    )
    title = "Plans against published choices"
    write_results("plan_published", title, rows, f"{found}\n{_PUBLISHED_NOTES}")


def host_rows(graphs: Mapping[str, OpGraph]) -> list[dict[str, Any]]:
    """A row for each model and host."""
    rows = []
    for name, graph in graphs.items():
        for device in (*respect_tf.device_presets(), *_LINKS):
            started = time.process_time()
            plan = respect_tf.plan(graph, NUM_DEVICES, device=device, verbose=0)
            seconds = time.process_time() - started
            best = [plan.row(count) for count in range(1, NUM_DEVICES + 1)]
            rows.append(
                {
                    "model": name,
                    "device": device,
                    **{
                        f"{count} devices": f"{plan.row(count).frames_per_second:.1f} "
                        f"({'+'.join(map(str, plan.row(count).replicas))})"
                        for count in _SHOWN
                    },
                    "8 copies": f"{plan.copies[-1].frames_per_second:.1f}",
                    "8 without replicas": f"{plan.pipelines[-1].frames_per_second:.1f}",
                    "proved": plan.is_proved,
                    "never worse": all(
                        _worst(row) <= _worst(rival, row) * _ROUNDING
                        for row, *rivals in zip(best, plan.copies, plan.pipelines, strict=True)
                        for rival in rivals
                    ),
                    "simulator off": f"{max(_off(graph, row, device) for row in best):.2%}",
                    "CPU s": round(seconds, 2),
                }
            )
    return rows


def _worst(row: Any, judge: Any = None) -> float:
    """What a plan minimises: the interval, or of several hosts the worst ratio to their optima."""
    optima = (judge or row).schedule.optima
    times = list(row.interval_ms_by_host.values())
    if optima is None:
        return float(row.interval_ms)
    return max(ms / least for ms, least in zip(times, optima, strict=True))


def _off(graph: OpGraph, row: Any, device: str) -> float:
    """How far the simulator's interval is from the plan's."""
    predicted = respect_tf.predict(graph, row.schedule, device, replicas=row.replicas)
    return abs(simulate(predicted, _NUM_SIMULATED).interval_ms / row.interval_ms - 1)


def published_rows() -> list[dict[str, Any]]:
    """A row for each detector and number of modules that was measured."""
    measured: dict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
    with _PUBLISHED.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            measured[line["model"]][int(line["num_tpus"])] = (
                int(line["segments"]),
                float(line["ms"]),
            )
    rows = []
    for name, build in DETECTORS.items():
        plan = respect_tf.plan(build(), NUM_DEVICES, device=_PCIE, verbose=0)
        fewest = min(measured[name])
        for count, (segments, ms) in sorted(measured[name].items()):
            row = plan.row(count)
            speed_up = measured[name][fewest][1] / ms
            predicted = plan.row(fewest).interval_ms / row.interval_ms
            rows.append(
                {
                    "model": name,
                    "modules": count,
                    "published segments": segments,
                    "planned segments": row.num_segments,
                    "planned replicas": "+".join(map(str, row.replicas)),
                    "published ms": ms,
                    "planned ms": round(row.interval_ms, 1),
                    "published speed-up": round(speed_up, 2),
                    "planned speed-up": round(predicted, 2),
                }
            )
    return rows


_HOST_NOTES = """
Frames per second that are predicted, and in brackets the devices of each segment. "8 copies" of the
whole model and "8 without replicas" are the rivals; "never worse" says that for 1 to 8 devices the
plan is as good as both of them on what it minimises: the interval on one host, or of the hosts of a
link the worst ratio to each one's own least interval. "proved": no cut and no distribution of
devices is better by the device model. "simulator off" is the largest difference between the plan's
interval and the simulator's, for 1 to 8 devices. "CPU s" is what one call for 8 devices took, all
rows included.
"""

_PUBLISHED_NOTES = """
Published are the best numbers of segments that CodeProject.AI-ObjectDetectionCoral found by trying,
on PCIe modules in a PC; the modules that are left hold replicas of slow segments. Speed-ups are
over the fewest modules that were measured. The models were built again with Keras from their
authors' configurations, up to the decoding, which ran on the host there; YOLOv5's pictures are
448x448 by the pixels per second that the same project prints. Planned for "pcie-card". Absolute
times differ by the host's part and by what a PC's slots share: what can be compared are segments
and speed-ups. Of the table's models only ipcam-general-v8 is left out: nobody says which YOLOv8 it
is.
"""


if __name__ == "__main__":
    main()
