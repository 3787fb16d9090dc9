"""Errors of predicted times of whole networks, by network and by host, and what to state of them.

python -m benchmarks._device_networks
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB
from benchmarks._device_rows import Row
from benchmarks._network_fit import Design, host_ranges, known_constants
from benchmarks._network_runs import (
    SESSION,
    Run,
    network_runs,
    probe_runs,
    segment_runs,
    stack_runs,
)
from benchmarks._tables import markdown
from benchmarks.networks import network
from respect_tf.device import op_parameters
from respect_tf.device._compute import PRICES
from respect_tf.device._parameters import round_up, stored_taps
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

_GOOGLE = "coral.ai"  # who measured the networks that the issue names
_PC, _BOARD = "usb3-pc", "pcie-devboard"
_FITTED_HOSTS = {
    _PC, _BOARD, "pcie-m2", "usb3-jetson", "usb2-jetson", SESSION,
}  # fmt: skip
_FOLDS = 20
_PEAK_GMAC_MS = 0.488  # 4 TOPS
_HOST_GROUPS = ("networks", "deep stacks")

NETWORK_NOTES = """
"left out" predicts each network by prices and constants of hosts that were fitted without it, on
any host; constants of hosts stay within the ranges of hosts.csv. Instructions are counted at every
inference, which parameters are streamed is predicted. The rivals saw all networks or need no fit:
"version 0.1" has the constants of that release, "bytes and peak" is fixed time, link x (inputs,
streamed parameters), output, and multiply-accumulates at the chip's 4 TOPS.

Inception-ResNet v2 is impossible: see the row. The SSDs are built for 300 pixels, as their files
are, though the table says 224. SqueezeNet is version 1.1. Google's DenseNet loses 5 ms from the PC
to the Dev Board, as a network would that streams 10 MiB, and DenseNet121 streams 4: it may be a
larger one.

Stacks of five 3x3 convolutions with few channels take up to 2 ms longer than predicted, the same in
some runs and not in others (62 channels: 2.6, 3.1 and 4.0 ms; 202: 12.4 and 14.4). Version 0.1 met
them by 0.9 ms for each MiB that a 3x3 convolution makes. Nothing else bears that: such a price of
0.3 brings these stacks from 9 % to 7 %, and the networks from 5 % and 8 % to 10 % and 11 %.

"as known" and "as another host" are what to state for hosts that are known and for others of the
same link: 9 of 10 known ones are within 20 %, 3 of 4 others within 40 %; and where the clock is not
known either, half. Inception v1 streams a little on hosts of USB 2, as their times tell, which is
not predicted. The Jetson Nano ran at 500 MHz: at 250, MobileNet v2 and convolutions of 7x7 would
have taken twice as long.
"""


@functools.cache
def runs_and_names() -> tuple[list[Run], list[str]]:
    """Runs that prices are fitted to, and what is left out together with each."""
    runs = [
        run
        for run in [*network_runs(), *stack_runs(), *probe_runs(), *segment_runs()]
        if run.host in _FITTED_HOSTS
        and (run.group != "networks" or (run.host in (_PC, _BOARD) and _is_reference(run)))
        and impossible(run) is None
    ]
    widths: dict[str, int] = {}
    names = []
    for run in runs:
        fold = widths.setdefault(run.name, len(widths)) % _FOLDS
        names.append(f"fold {fold}" if "stacks" in run.group else run.name)
    return runs, names


def _is_reference(run: Run) -> bool:
    return run.source in (_GOOGLE, "pycoral benchmarks/reference") or "coral" in run.source


def impossible(run: Run) -> str | None:
    """Why a published time cannot be of the network that it names, or None."""
    if run.group != "networks":
        return None
    link = host_ranges()[run.host][1][1]
    least = link * float(run.work.streamed_mib.sum())
    if run.ms >= least:
        return None
    mib = float(run.work.streamed_mib.sum())
    return (
        f"{mib:.1f} MiB of parameters that do not fit take {least:.0f} ms at the link's fastest "
        f"{link:g} ms per MiB, {run.ms:g} ms are published"
    )


def networks_table() -> list[Row]:
    """Google's networks on the PC and the Dev Board, each network left out in turn."""
    runs, names = runs_and_names()
    design = Design(runs)
    left_out = design.left_out(names, ("networks",))
    rivals = [("version 0.1", _before), ("bytes and peak", _bytes_and_peak)]
    rows: list[Row] = []
    errors: dict[str, list[list[float]]] = {host: [] for host in (_PC, _BOARD)}
    for name in dict.fromkeys(run.name for run in runs if run.group == "networks"):
        row: Row = {"network": name}
        for host in (_PC, _BOARD):
            index = _find(runs, name, host)
            run, predicted = runs[index], float(left_out[index])
            found = [predicted, *(rival(run) for _, rival in rivals)]
            misses = [value / run.ms - 1 for value in found]
            errors[host].append(misses)
            row |= {f"{host} ms": f"{run.ms:g}", f"{host} left out": f"{predicted:.2f}"}
            row |= {f"{host} error": f"{misses[0]:+.0%}"}
            row |= {
                f"{host} {rival}": f"{miss:+.0%}"
                for (rival, _), miss in zip(rivals, misses[1:], strict=True)
            }
        rows.append(row)
    rows.append(_mean_row(rows[0], errors, [rival for rival, _ in rivals]))
    return [*rows, *_impossible_rows(rows[0])]


def _mean_row(like: Row, errors: dict[str, list[list[float]]], rivals: Sequence[str]) -> Row:
    row = dict.fromkeys(like, "")
    row["network"] = "mean error"
    for host, misses in errors.items():
        means = np.abs(misses).mean(axis=0)
        for column, mean in zip(("error", *rivals), means, strict=True):
            row[f"{host} {column}"] = f"{mean:.1%}"
    return row


def _impossible_rows(like: Row) -> list[Row]:
    rows: dict[str, Row] = {}
    for run in network_runs():
        reason = impossible(run)
        if reason is None or run.host not in (_PC, _BOARD):
            continue
        row = rows.setdefault(run.name, {**dict.fromkeys(like, ""), "network": run.name})
        row[f"{run.host} ms"] = f"{run.ms:g}"
        row[f"{run.host} left out"] = f"impossible: {reason}"
    return list(rows.values())


def _find(runs: Sequence[Run], name: str, host: str) -> int:
    return next(
        index
        for index, run in enumerate(runs)
        if (run.name, run.host, run.source) == (name, host, _GOOGLE)
    )


def groups_table() -> list[Row]:
    """The other measurements that prices are fitted to: stacks, segments, single ops."""
    runs, names = runs_and_names()
    design = Design(runs)
    fitted = design.predict(design.fit(range(len(runs))))
    left_out = design.left_out(names, ("stacks", "dense stacks", "deep stacks", "segments"))
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, run in enumerate(runs):
        end = "streamed" if run.streams else "all cached"
        layers = f" of {len(run.work.streamed_mib)}" if run.group == "stacks" else ""
        end = "" if run.group in ("networks", "segments") else end
        group = (run.group + layers, run.host, end)
        groups.setdefault(group, []).append(index)
    return [
        {
            "runs": ", ".join(filter(None, group)), "count": len(chosen),
            "mean error": _percent(fitted, design.ms, chosen),
            "left out": "" if group[0] in ("networks", "probes")
            else _percent(left_out, design.ms, chosen),
        }
        for group, chosen in sorted(groups.items())
    ]  # fmt: skip


def hosts_table() -> list[Row]:
    """Whole models by host: as known, as another host of the link, and fitted to its own times.

    Prices are those that are shipped. "as another host" takes the constants of each other host of
    the link in turn; "fitted" those that fit the host's other models, within their ranges.
    """
    runs = [
        run
        for run in [*network_runs(), *probe_runs()]
        if run.group in _HOST_GROUPS and impossible(run) is None
    ]
    design, known = Design(runs), known_constants()
    ready = design.predict(known)
    rows: list[Row] = []
    pooled: dict[str, list[float]] = {"as known": [], "as another host": [], "fitted": []}
    for host in host_ranges():
        chosen = [index for index, run in enumerate(runs) if run.host == host]
        if not chosen:
            continue
        link = host.split("-", maxsplit=1)[0]
        others = [name for name in host_ranges() if name.startswith(link) and name != host]
        others = [name for name in others if name != SESSION]
        strange = [_misses(design.predict(known, other), design.ms, chosen) for other in others]
        fitted, constants = _fitted(design, chosen)
        misses = {
            "as known": _misses(ready, design.ms, chosen),
            "as another host": [miss for row in strange for miss in row],
            "fitted": fitted,
        }
        for kind, values in misses.items():
            pooled[kind] += values
        rows.append({"host": host, "models": len(chosen), **_columns(misses), **constants})
    rows.append({"host": "all", "models": len(runs), **_columns(pooled),
                 **dict.fromkeys(("fixed ms", "link", "output"), "")})  # fmt: skip
    return rows


def _fitted(design: Design, chosen: Sequence[int]) -> tuple[list[float], Row]:
    """Errors of each model by the host's others, and the constants that fit all of them."""
    misses: list[float] = []
    for name in dict.fromkeys(design.runs[index].name for index in chosen):
        own = [index for index in chosen if design.runs[index].name == name]
        rest = [index for index in chosen if index not in own]
        constants = design.fit(rest, prices=False) if rest else known_constants()
        misses += _misses(design.predict(constants), design.ms, own)
    host = design.runs[chosen[0]].host
    fixed, link, output, _ = design.fit(chosen, prices=False).hosts[host]
    return misses, {
        "fixed ms": f"{fixed:.2f}", "link": f"{link:.2f}", "output": f"{output:.0f}"
    }  # fmt: skip


def _columns(misses: dict[str, list[float]]) -> Row:
    columns: Row = {}
    for kind, values in misses.items():
        sizes = np.abs(values)
        columns[kind] = f"{sizes.mean():.1%}" if len(sizes) else ""
        columns[f"{kind}: 9 of 10"] = f"{np.quantile(sizes, 0.9):.1%}" if len(sizes) else ""
    return columns


def prices_table() -> list[Row]:
    """The shipped prices, and what the fit to everything gives today."""
    runs, _ = runs_and_names()
    fitted = Design(runs).fit(range(len(runs)))
    return [
        {
            "price": price.name, "unit": price.unit, "shipped": price.value,
            "fitted": f"{value:.4g}", "range": f"{price.low:g} to {price.high:g}",
        }
        for price, value in zip(PRICES, fitted.prices, strict=True)
    ]  # fmt: skip


def _misses(predicted: Floats, ms: Floats, chosen: Sequence[int]) -> list[float]:
    values: list[float] = (predicted[list(chosen)] / ms[list(chosen)] - 1).tolist()
    return values


def _percent(predicted: Floats, ms: Floats, chosen: Sequence[int]) -> str:
    return f"{np.abs(_misses(predicted, ms, chosen)).mean():.1%}"


# Constants of version 0.1: fixed ms, ms per GMAC, per MiB of a convolution's map for a kernel of
# 3x3, per MiB of vectors, per MiB streamed, of inputs and of outputs.
_BEFORE = {
    _PC: (1.39, 0.816, 0.4, 9.11, 2.9, 7.1, 115.9),
    _BOARD: (0.0915, 0.816, 0.895, 9.11, 2.763, 4.93, 5.57),
}


def _before(run: Run) -> float:
    """What version 0.1 predicts."""
    fixed, gmac, map_mib, vector_mib, streamed, entered, left = _BEFORE[run.host]
    graph = network(run.name)
    table = np.array([_old_work(graph, op) for op in range(graph.num_ops)])
    compute = table @ np.array([gmac, map_mib, vector_mib])
    always = streamed * float(op_parameters(graph).streamed.sum()) / MIB
    work = run.work
    busy = np.maximum(compute, streamed * work.streamed_mib).sum()
    output = float(graph.tensor_bytes[graph.model_outputs].sum()) / MIB
    return float(fixed + busy + always + entered * work.input_mib + left * output)


def _old_work(graph: OpGraph, op: int) -> tuple[float, float, float]:
    """GMACs padded to 64, MiB of maps in proportion to the kernel, MiB of vectors."""
    kind, inputs = graph.op_types[op], graph.inputs_of(op).tolist()
    if len(inputs) < 2 or not graph.is_constant[inputs[1]]:
        return 0.0, 0.0, 0.0
    weights = graph.tensor_shapes[inputs[1]]
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    if kind == "FULLY_CONNECTED":
        macs = round_up(weights[0], 64) * round_up(weights[-1], 4)
        values = graph.tensor_bytes[[inputs[0], graph.outputs_of(op)[0]]].sum()
        return macs / 1e9, 0.0, float(values) / MIB
    if "CONV" not in kind:
        return 0.0, 0.0, 0.0
    transposed = kind == "TRANSPOSE_CONV"
    image = graph.tensor_shapes[inputs[2 if transposed else 0]]
    taps = stored_taps(kind, weights, image, made, graph.op_attributes[op])
    products = taps * int(np.prod((image if transposed else made)[:3]))
    if kind == "DEPTHWISE_CONV_2D":
        return products * round_up(weights[-1], 16) * 4 / 1e9, 0.0, 0.0
    macs = products * round_up(weights[0], 64) * round_up(weights[-1], 4)
    return macs / 1e9, products * made[-1] / 9 / MIB, 0.0


def _bytes_and_peak(run: Run) -> float:
    fixed, link, output, _ = known_constants().hosts[run.host]
    work = run.work
    moved = work.input_mib + float(work.streamed_mib.sum())
    made = sum(work.outputs) / MIB
    return fixed + link * moved + output * made + _PEAK_GMAC_MS * work.gmacs


_TABLES: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
    ("Networks, each left out in turn", networks_table),
    ("Other measurements", groups_table),
    ("By host", hosts_table),
    ("Prices", prices_table),
)


def main() -> None:
    """Print the tables."""
    if not DATA.is_dir():
        print(f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}.")
        return
    for title, table in _TABLES:
        print(f"## {title}\n\n{markdown(table())}\n")
    print(NETWORK_NOTES.strip())


if __name__ == "__main__":
    main()
