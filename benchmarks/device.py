"""Errors of the device model on public data, by kind: of the fit, and of what it left out."""

from __future__ import annotations

from benchmarks._device_data import DATA
from benchmarks._device_memory import MEMORY_NOTES, memory_table
from benchmarks._device_rows import Row, measured_networks
from benchmarks._device_time import TIME_NOTES, WINNER, time_table
from benchmarks._tables import markdown, update_readme, write_results


def main() -> None:
    """Measure and write `results/device_memory.md`, `results/device_time.md` and the README's."""
    if not DATA.is_dir():
        print(
            f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}: there is "
            "nothing to compare the device model with."
        )
        return
    networks = measured_networks()
    memory, time = memory_table(networks), time_table(networks)
    write_results("device_memory", "The device model: memory", memory, MEMORY_NOTES)
    write_results("device_time", "The device model: time", time, TIME_NOTES)
    targets = _targets({row["kind"]: row for row in [*memory, *time]})
    write_results("device", "The device model: what it should reach", targets, _TARGET_NOTES)
    update_readme("device", markdown(targets))


_TARGET_NOTES = """
"left out" is the figure to judge by: of models, widths or networks that the fit did not see. Where
it is empty, formulas were found on these very files. "runs differ" is how far runs of the same
stack are apart, and "least possible" the mean error of the best function of the width that never
falls, chosen with all times known: where that is above what is wanted, no such model can reach it.
"least, left out" is the same chosen without the widths that it is judged by, which is how the model
is judged.
See `device_memory.md` and `device_time.md`.
"""


def _targets(rows: dict[str, Row]) -> list[Row]:
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
        ("PCIe conv, all cached: mean error", "PCIe, one TPU, conv, all cached", "mean error",
         "left out: mean", "<= 5 %"),
        ("PCIe conv, all cached: sum of errors over sum of times",
         "PCIe, one TPU, conv, all cached", "sum", "left out: sum", "<= 5 %"),
        ("PCIe conv of 5 layers, all cached: mean error",
         "PCIe, one TPU, conv of 5 layers, all cached", "mean error", "left out: mean", "<= 5 %"),
        ("PCIe dense, all cached: mean error", "PCIe, one TPU, dense, all cached", "mean error",
         "left out: mean", "<= 5 %"),
        ("PCIe dense, all cached: sum of errors over sum of times",
         "PCIe, one TPU, dense, all cached", "sum", "left out: sum", "<= 5 %"),
        ("PCIe, streamed: mean error", "PCIe, one TPU, all, streamed", "mean error",
         "left out: mean", "<= 10 %"),
        ("USB 3, segments of networks: mean error", "USB 3, all networks", "mean error",
         "left out: mean", "<= 8 %"),
        ("pipelines on 2 and 4 TPUs: median error", "PCIe, pipelines, all", "median",
         "left out: median", "<= 10 %"),
        ("right winner of stock and profiled cut", WINNER, "exact", "left out: exact", ">= 95 %"),
    ]  # fmt: skip
    table = []
    for what, kind, inside, outside, limit in wanted:
        row = rows[kind]
        judged = float((row[outside] if outside else row[inside]).rstrip("%"))
        bound = float(limit.strip("<>= %"))
        met = judged <= bound if limit.startswith("<") else judged >= bound
        table.append(
            {
                "what": what,
                "of": f"{row['count']:,} {row['of']}",
                "in sample": row[inside],
                "left out": row[outside] if outside else "",
                "wanted": limit,
                "met": "yes" if met else "no",
                "runs differ": row.get("runs differ", ""),
                **{
                    name: row.get(name, "") if inside == "mean error" else ""
                    for name in ("least possible", "least, left out")
                },
            }
        )
    return table


if __name__ == "__main__":
    main()
