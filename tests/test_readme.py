"""The blocks of the README run, top to bottom, as a newcomer would run them."""

import importlib.metadata
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from respect_tf.cli import main

_README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_the_blocks_of_the_readme_run(tmp_path, monkeypatch):
    if importlib.metadata.version("tensorflow").startswith("2.16."):
        pytest.skip("the README says what crashes this TensorFlow")
    blocks = re.findall(r"```python\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
    teaser, *rest = blocks
    assert "respect_tf.convert(model" in teaser  # it shows the idea; the next block defines `model`
    assert len(rest) >= 2
    script = tmp_path / "readme.py"
    seeded = "import keras\nkeras.utils.set_random_seed(0)\n"  # its models are not trained
    script.write_text("\n".join([seeded, *rest, teaser]))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        env={"PYTHONPATH": str(_README.parent), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "optimal" in done.stdout
    monkeypatch.chdir(tmp_path)
    _run_commands()


# These need Google's compiler, times from the device, or hours.
_ELSEWHERE = ("compile", "calibrate", "labels", "train", "evaluate")


def _run_commands():
    """The commands for the command line, on the files that the Python blocks have left."""
    text = _README.read_text("utf-8")
    lines = re.findall(r"^respect-tf (.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    commands = [words for words in map(shlex.split, lines) if words[0] not in _ELSEWHERE]
    assert len(commands) >= 7
    for words in commands:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, (words, result.output)


def test_every_command_of_the_readme_exists():
    text = _README.read_text("utf-8")
    for command in re.findall(r"^respect-tf (\w+)", text, re.MULTILINE):
        assert command in main.commands
    makefile = (_README.parent / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
