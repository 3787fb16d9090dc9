"""Errors of the device model on public data, by kind: of the fit, and of what it left out."""

from __future__ import annotations

from benchmarks._device_data import DATA
from benchmarks._device_memory import MEMORY_NOTES, memory_table
from benchmarks._device_networks import (
    NETWORK_NOTES,
    groups_table,
    hosts_table,
    networks_table,
    prices_table,
)
from benchmarks._device_rows import Row, measured_networks
from benchmarks._tables import markdown, update_page, write_results


def main() -> None:
    """Measure and write `results/device_*.md` and the tables of `docs/measured.md`."""
    if not DATA.is_dir():
        print(
            f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}: there is "
            "nothing to compare the device model with."
        )
        return
    memory = memory_table(measured_networks())
    write_results("device_memory", "The device model: memory", memory, MEMORY_NOTES)
    networks, groups, hosts = networks_table(), groups_table(), hosts_table()
    for name, title, rows in (
        ("device_networks", "Google's networks, each left out in turn", networks),
        ("device_groups", "Other measurements that prices are fitted to", groups),
        ("device_hosts", "Whole models by host", hosts),
        ("device_prices", "Prices of compute", prices_table()),
    ):
        write_results(name, f"The device model: {title}", rows, NETWORK_NOTES)
    targets = _targets({row["kind"]: row for row in memory}, networks)
    write_results("device", "The device model: what it should reach", targets, _TARGET_NOTES)
    update_page("device", f"{markdown(targets)}\n\n{markdown(hosts)}")


_TARGET_NOTES = """
"left out" is the figure to judge by: of models, widths or networks that the fit did not see. Where
it is empty, formulas were found on these very files. See `device_memory.md`, `device_networks.md`,
`device_groups.md` and `device_hosts.md`.
"""


def _targets(rows: dict[str, Row], networks: list[Row]) -> list[Row]:
    """What the model should reach, with the figures of the tables."""
    wanted = [
        ("stored bytes within 1 %, models of 1 MB and more", "stored, 1 MB and more", "within 1 %",
         "", ">= 90 %"),
        ("log figures to print rounding, cut known", "log, all, cut known", "exact",
         "left out: exact", ">= 99 %"),
        ("right number of streamed layers, cut known", "log, all, cut known", "streamed layers",
         "left out: layers", ">= 95 %"),
        ("room for parameters within 5 %, tails of networks",
         "room for parameters, tails of networks", "within 5 %", "", "100 %"),
        ("streamed bytes within 2 %, all public pairs", "streamed, all compilers", "within 2 %", "",
         ">= 95 %"),
        ("ops left on the CPU, all public pairs", "ops on the CPU", "exact", "", ">= 95 %"),
        ("instruction bytes, each model left out: median error", "instructions, compiled files",
         "median", "left out: median", "<= 25 %"),
    ]  # fmt: skip
    table = [
        _target(what, f"{rows[kind]['count']:,} {rows[kind]['of']}", rows[kind][inside],
                rows[kind][outside] if outside else "", limit)
        for what, kind, inside, outside, limit in wanted
    ]  # fmt: skip
    mean = next(row for row in networks if row["network"] == "mean error")
    count = sum(row["network"] != "mean error" for row in networks)
    for host, place, limit in (
        ("usb3-pc", "a PC over USB 3", "<= 12 %"),
        ("pcie-devboard", "the Dev Board", "<= 9 %"),
    ):
        what = f"Google's networks on {place}: mean error"
        table.append(_target(what, f"{count} networks", "", mean[f"{host} error"], limit))
    return table


def _target(what: str, of: str, inside: str, outside: str, limit: str) -> Row:
    judged, bound = float((outside or inside).rstrip("%")), float(limit.strip("<>= %"))
    met = judged <= bound if limit.startswith("<") else judged >= bound
    return {"what": what, "of": of, "in sample": inside, "left out": outside, "wanted": limit,
            "met": "yes" if met else "no"}  # fmt: skip


if __name__ == "__main__":
    main()
