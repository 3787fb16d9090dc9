"""The stand-in compiler, as a program in a folder of its own."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def stand_in_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shell script that starts the stand-in as the real one starts the compiler proper."""
    program = tmp_path_factory.mktemp("bin") / "edgetpu_compiler"
    paths = ":".join(str(path) for path in (_HERE, _HERE.parents[1]))
    command = f"{shlex.quote(sys.executable)} {_HERE / 'stand_in_compiler.py'}"
    program.write_text(f'#!/bin/bash\nexport PYTHONPATH={shlex.quote(paths)}\n{command} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Tells the stand-in how to behave; returns the folder in which it counts its runs."""
    counter = tmp_path / "runs"
    counter.mkdir()
    file = tmp_path / "plan.json"
    monkeypatch.setenv("STAND_IN_PLAN", str(file))

    def set_plan(**keys) -> Path:
        file.write_text(json.dumps({"counter": str(counter), **keys}))
        return counter

    set_plan()
    return set_plan
