"""A clock that shows the same on every machine: it moves on when somebody looks at it."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest


class SlowClock:
    """Stands in for `time` in all modules of the package that have looked it up.

    Args:
        monkeypatch: Undoes it after the test.
        step: Seconds that pass with each reading.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
        self.readings = 0
        self._step = step
        fake = SimpleNamespace(perf_counter=self._read, monotonic=self._read)
        for name, module in list(sys.modules.items()):
            if name.startswith("respect_tf.") and vars(module).get("time") is time:
                monkeypatch.setattr(module, "time", fake)

    def _read(self) -> float:
        self.readings += 1
        return self.readings * self._step
