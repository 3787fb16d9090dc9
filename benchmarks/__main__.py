"""Run every benchmark: `python -m benchmarks`, or some of them by name.

Sections come after their benchmark: `python -m benchmarks policy random milp scheduling`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

BENCHMARKS = (
    "constants",
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
    "wide",
    "worker",
)


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    chosen: list[list[str]] = []
    for word in sys.argv[1:] or BENCHMARKS:
        if word in BENCHMARKS:
            chosen.append([word])
        elif chosen and word in getattr(_module(chosen[-1][0]), "SECTIONS", ()):
            chosen[-1].append(word)
        else:
            sys.exit(
                f"No benchmark is named {word!r}, and it is no section of the one before it. There "
                f"are: {', '.join(BENCHMARKS)}."
            )
    for name, *sections in chosen:
        sys.argv[1:] = sections  # where benchmarks look for them
        _module(name).main()


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


if __name__ == "__main__":
    main()
