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
                models, work, devices=hosts, num_devices=_NUM_DEVICES, num_processes=processes
            )
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
            tables.append(table.read_bytes())
    same = "the same bytes" if tables[0] == tables[1] else "DIFFERENT"
    notes = (
        f"1 to {_NUM_DEVICES} devices on every host, by `estimate`. The tables of one process and "
        f"of two are {same}. Seconds of the clock."
    )
    write_results("sweep", "keras.applications on every host", rows, notes)
    update_page("sweep", f"{markdown(rows)}\n\n{notes}")


if __name__ == "__main__":
    main()
