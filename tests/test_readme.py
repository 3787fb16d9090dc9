"""The README works from top to bottom, as a newcomer copies it into one folder."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from respect_tf.cli import main

_README = Path(__file__).resolve().parents[1] / "README.md"
_BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
_LINES = [line for kind, text in _BLOCKS if kind == "bash" for line in text.splitlines()]

# What a comment says of a line that is not run here. All others are, in their order.
_ELSEWHERE = re.compile(r"#.*\b(needs Edge TPUs|needs Google's compiler|takes minutes)\b")

# One process runs all, as `respect-tf` and the blocks of Python would load TensorFlow each time.
_DRIVER = """
import json, shlex, subprocess, sys
from click.testing import CliRunner
from respect_tf.cli import main

names = {"__name__": "__main__"}
for kind, text in json.loads(sys.argv[1]):
    print(f"--- {text}", flush=True)
    if kind == "python":
        exec(compile(text, "<README>", "exec"), names)
        continue
    program, *words = shlex.split(text, comments=True)
    if program == "respect-tf":
        done = CliRunner().invoke(main, words)
        print(done.output, flush=True)
        # Where something optional is missing, `doctor` says so.
        assert done.exit_code == 0 or words == ["doctor"], (text, done.output, done.exception)
    else:
        assert program == "python3", f"who runs this? {text}"
        subprocess.run([sys.executable, *words], check=True)
"""


def _steps():
    teaser, *rest = _BLOCKS
    assert "# your model, your images" in teaser[1]  # it shows the idea: it comes last here
    for kind, text in rest:
        if kind == "python":
            yield kind, text
        else:
            for line in text.splitlines():
                if line.strip() and not _ELSEWHERE.search(line):
                    yield kind, line
    yield teaser


@pytest.mark.slow
def test_every_block_and_command_of_the_readme_runs_in_order(tmp_path):
    if importlib.metadata.version("tensorflow").startswith("2.16."):
        pytest.skip("the README says what crashes this TensorFlow")
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, json.dumps(list(_steps()))],
        cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False,
        env={
            "PYTHONPATH": str(_README.parent), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": os.defpath,
            "HOME": os.environ.get("HOME", str(tmp_path)),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "2 segments on 4 Edge TPUs (2+2)" in done.stdout  # what the text says of it
    assert "verified: every segment computes what was saved" in done.stdout
    made = {path.name for path in tmp_path.iterdir()}
    assert {"my_pipeline", "trained_pipeline", "overlays", "trace.json", "scores.npy"} <= made


def test_what_is_not_run_is_little():
    left_out = [line for line in _LINES if _ELSEWHERE.search(line)]
    assert len(left_out) <= 8
    may_be = ("pip ", "python3 -m venv", "model-explorer")
    for line in left_out:
        assert "run_pipeline.py" in line or line.startswith(may_be)


def test_every_command_of_the_readme_exists():
    text = _README.read_text("utf-8")
    for command in re.findall(r"^respect-tf (\w+)", text, re.MULTILINE):
        assert command in main.commands
    makefile = (_README.parent / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
