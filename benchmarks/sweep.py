"""`respect-tf sweep` over all of keras.applications, in one process and in two."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._tables import markdown, update_page, write_results
from respect_tf import device_presets
from respect_tf._sweep import sweep, sweep_models, write_table

_NUM_DEVICES = 8
_SECONDS = 2.0  # for a plan: those of ConvNeXts, with 375 ops on the CPU, take ten times as long


def main() -> None:
    """Measure and write `results/sweep.md`."""
    models, hosts = sweep_models(["keras.applications"]), tuple(device_presets())
    rows: list[dict[str, Any]] = []
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for processes in (1, 2):
            work = str(Path(folder) / str(processes))
            started = time.monotonic()
            found = sweep(
                models, work, devices=hosts, num_devices=_NUM_DEVICES, time_limit=_SECONDS,
                num_processes=processes,
            )  # fmt: skip
            seconds = time.monotonic() - started
            table = Path(folder) / f"{processes}.csv"
            rows.append(
                {
                    "processes": processes,
                    "models": len(models) - len(found.failures),
                    "left out": len(found.failures),
                    "hosts": len(hosts),
                    "rows": write_table(found, table),
                    "s": seconds,
                    "rows per s": len(found.rows) / seconds,
                }
            )
            tables.append(table.read_bytes().splitlines())
    same = sum(one == two for one, two in zip(*tables, strict=False)) - 1  # but for the header
    notes = (
        f"1 to {_NUM_DEVICES} devices on every host, by `estimate`, with {_SECONDS} s for a plan. "
        f"{same:,} rows of one process and of two are the same; the others belong to plans that "
        "were stopped. Seconds of the clock."
    )
    write_results("sweep", "keras.applications on every host", rows, notes)
    update_page("sweep", f"{markdown(rows)}\n\n{notes}")


if __name__ == "__main__":
    main()
