"""The pages in `docs`: their code runs, and what they name exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = sorted((_ROOT / "docs").glob("*.md"))


def _names(path):
    return path.stem


def _blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.M)


def _has_python(path):
    return bool(_blocks(path, "python"))


def test_there_are_pages_with_code():
    found = {page.stem for page in _PAGES if _has_python(page)}
    assert {"getting_started", "scheduling", "troubleshooting"} <= found


@pytest.mark.slow
@pytest.mark.parametrize("page", [*filter(_has_python, _PAGES)], ids=_names)
def test_the_python_blocks_of_a_page_run_from_top_to_bottom(page, tmp_path):
    blocks = _blocks(page, "python")
    # A block that catches an error also has to meet it.
    expecting = r"(except \S+ as error:\n(?:    .*\n)+)"
    code = re.sub(expecting, r"\1else:\n    raise SystemExit('no error')\n", "\n".join(blocks))
    script = tmp_path / "page.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        env={"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_error_that_a_page_names_exists():
    from respect_tf import _errors

    known = {name for name in vars(_errors) if name.endswith("Error")}
    named = {
        found
        for page in _PAGES
        for found in re.findall(r"`(?:respect_tf\.)?([A-Z]\w+Error)`", page.read_text("utf-8"))
    }
    assert named <= known
    assert len(named) > 8


def test_every_error_has_a_place_in_troubleshooting():
    import respect_tf

    text = (_ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    public = {name for name in respect_tf.__all__ if name.endswith("Error")}
    # These say all there is to know: an argument is wrong, a graph is none, a runner was closed.
    plain = {"ArgumentError", "GraphError", "InterpreterError", "RunnerError"}
    assert {name for name in public if name not in text} <= plain


def test_every_command_exists_with_its_options():
    from respect_tf.cli import main

    for page in _PAGES:
        for command, rest in re.findall(r"respect-tf (\w+)([^`\n]*)", page.read_text("utf-8")):
            assert command in main.commands, command
            options = {name for one in main.commands[command].params for name in one.opts}
            assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest.split("#")[0])) <= options


def test_every_link_leads_somewhere():
    for page in [*_PAGES, *(_ROOT / "examples").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), target
