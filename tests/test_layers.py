"""A folder of the package knows only those before it, and those by their public names."""

import ast
from pathlib import Path

import pytest

import respect_tf

_ROOT = Path(respect_tf.__file__).parent
_ORDER = (
    "tflite", "graph", "device", "policy", "scheduling", "planning", "training", "segmentation",
    "compile", "run", "report",
)  # fmt: skip


def _imports(path):
    """Dotted names of what a module imports from the package, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            yield node.module


def test_every_folder_has_a_place():
    folders = {path.parent.name for path in _ROOT.glob("*/__init__.py")}
    assert {name for name in folders if not name.startswith("_")} == set(_ORDER)


@pytest.mark.parametrize("folder", _ORDER)
def test_folders_know_those_before_them(folder):
    known = _ORDER[: _ORDER.index(folder)]
    for path in (_ROOT / folder).rglob("*.py"):
        for name in _imports(path):
            package, *rest = name.split(".")
            if package != "respect_tf" or not rest or rest[0] == folder:
                continue
            private = [part for part in rest[1:] if part.startswith("_")]
            assert not private, f"{path.name} imports {name}"
            if not rest[0].startswith("_"):
                assert rest[0] in known, f"{path.name} imports {name}"
            else:
                module = _ROOT / f"{rest[0]}.py"
                of_module = _imports(module) if module.exists() else ()
                deeper = [other for other in of_module if other.startswith("respect_tf.")]
                assert all(other.split(".")[1].startswith("_") for other in deeper), (
                    f"{path.name} imports {name}, which imports {deeper}"
                )
