"""Run every benchmark: `python -m benchmarks`, or some of them by name."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    "coverage",
    "cutting",
    "device",
    "endurance",
    "estimate",
    "fleet",
    "hosts",
    "installation",
    "kills",
    "labels",
    "large",
    "memory",
    "overhead",
    "pipeline",
    "plan",
    "policy",
    "respect",
    "runner",
    "scheduling",
    "sweep",
    "throughput",
    "worker",
)


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    asked = sys.argv[1:] or BENCHMARKS
    for name in asked:
        if name not in BENCHMARKS:
            sys.exit(f"No benchmark is named {name!r}. There are: {', '.join(BENCHMARKS)}.")
    for name in asked:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
