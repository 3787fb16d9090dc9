"""The ten models on three hosts, and on four at once: what the best cut gains, and its proof."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import respect_tf
from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import markdown, update_page, write_results
from respect_tf.device import predict

NUM_STAGES = (4, 5, 6)
FOUR = "four USB 3 hosts"
DEVICES = ("usb3-pi5", "usb2-pi3", "pcie-m2", FOUR)
_HOSTS = ("usb3-pi5", "usb3-pc", "usb3-pi4", "usb3-jetson")
_NUM_RUNS = 3
_TARGET_SECONDS = {FOUR: 0.5}
_TARGET_OF_ONE = 0.2


def main() -> None:
    """Measure and write `results/throughput.md`."""
    rows = []
    for name in TEN_MODELS:
        content = int8_model(name)
        for device in DEVICES:
            rows += [_row(name, content, device, num_stages) for num_stages in NUM_STAGES]
    write_results("throughput", "Predicted throughput of the ten models", rows, _notes(rows))
    update_page("throughput", f"{markdown(_by_device(rows))}\n\n{_summary(rows)}")


def _row(name: str, content: bytes, named: str, num_stages: int) -> dict[str, Any]:
    seconds = []
    device: Any = list(_HOSTS) if named == FOUR else named
    for _ in range(_NUM_RUNS):
        graph = respect_tf.OpGraph.from_tflite(content)  # nothing is known about it yet
        started = time.process_time()
        exact = respect_tf.schedule(graph, num_stages, "exact", device=device)
        seconds.append(time.process_time() - started)
    if exact.cost is None or exact.gap is None:
        raise AssertionError(exact)
    stock = respect_tf.schedule(graph, num_stages, "compiler", device=device)
    balanced = respect_tf.schedule(graph, num_stages, "exact", objective="memory")

    def fps(stages: Any) -> float:
        return predict(graph, stages, device).frames_per_second

    best = fps(exact.stages)
    rivals = {
        "compiler": fps(stock.stages),
        "balanced bytes": fps(balanced.stages),
        "one TPU": fps(np.zeros(graph.num_ops, np.int64)),
    }
    return {
        "model": name,
        "device": named,
        "K": num_stages,
        "exact fps": best,
        **{f"{rival} fps": value for rival, value in rivals.items()},
        **{f"times {rival}": best / value for rival, value in rivals.items()},
        "status": exact.status,
        "gap": exact.gap,
        "solve CPU s": min(seconds),
    }


def _by_device(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per device and number of stages: means over the models."""
    table = []
    for device in DEVICES:
        for num_stages in NUM_STAGES:
            own = [row for row in rows if (row["device"], row["K"]) == (device, num_stages)]
            table.append(
                {
                    "device": device,
                    "K": num_stages,
                    **{
                        f"times {rival}, mean (largest)": _mean(own, f"times {rival}")
                        for rival in ("compiler", "balanced bytes", "one TPU")
                    },
                    "slower than compiler": sum(row["times compiler"] < 1 for row in own),
                    "proved": f"{sum(row['status'] == 'optimal' for row in own)} of {len(own)}",
                    "slowest proof, CPU s": max(row["solve CPU s"] for row in own),
                }
            )
    return table


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    values = [row[column] for row in rows]
    return f"{statistics.geometric_mean(values):.2f} ({max(values):.2f})"


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    slower = sum(row["times compiler"] < 1 for row in rows)
    proved = sum(row["status"] == "optimal" for row in rows)
    late = sum(
        row["solve CPU s"] > _TARGET_SECONDS.get(row["device"], _TARGET_OF_ONE) for row in rows
    )
    return (
        f"Of {len(rows)} cases, {slower} are slower than the compiler's own cut; the speed-up over "
        f"it is {_mean(rows, 'times compiler')} in the geometric mean (at most), over balanced "
        f"bytes {_mean(rows, 'times balanced bytes')}, over one Edge TPU "
        f"{_mean(rows, 'times one TPU')}. {proved} are proved optimal under the model, {late} of "
        f"them in more than {_TARGET_OF_ONE} s ({_TARGET_SECONDS[FOUR]} s for four hosts at once). "
        "All throughputs are predicted, none is measured."
    )


def _notes(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"""
{_summary(rows)} "exact" minimises `"throughput"`; "compiler" is what
`edgetpu_compiler --num_segments` cuts; "balanced bytes" is the proved optimum of `"memory"`; "one
TPU" runs the whole model. Solve times are CPU seconds of `schedule`, the device model's costs of a
fresh graph included, the least of {_NUM_RUNS} runs. "{FOUR}" is the cut whose worst interval,
relative to each host's own optimum, is least; its frames per second are those of {_HOSTS[0]}, whose
own best cut may be faster.
"""


if __name__ == "__main__":
    main()
