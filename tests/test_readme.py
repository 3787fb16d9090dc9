"""Every Python block of the README runs, top to bottom, as a newcomer would run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_the_python_blocks_of_the_readme_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
    teaser, *rest = blocks
    assert "respect_tf.convert(model" in teaser  # it shows the idea; the next block defines `model`
    assert len(rest) >= 2
    script = tmp_path / "readme.py"
    script.write_text("\n".join([*rest, teaser]))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        env={"PYTHONPATH": str(_README.parent), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "optimal" in done.stdout


def test_every_command_of_the_readme_exists():
    from respect_tf.cli import main

    text = _README.read_text("utf-8")
    for command in re.findall(r"^respect-tf (\w+)", text, re.MULTILINE):
        assert command in main.commands
    makefile = (_README.parent / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
