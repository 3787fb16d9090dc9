"""A plain installation in a fresh environment: its size, and a new process's first schedule."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._models import int8_model
from benchmarks._tables import markdown, update_page, write_results

Row = dict[str, Any]

_ROOT = Path(__file__).parents[1]
_MODELS = ("DenseNet121", "NASNetMobile")
_RANDOM_OPS, _NUM_STAGES = 100, 4
_RANDOM = f"random, {_RANDOM_OPS} ops"

# What each distribution puts on the disk, and the names of those that TensorFlow brings.
_SIZES = """
import json
from importlib.metadata import distributions
from pathlib import Path
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

found = {canonicalize_name(one.name): one for one in distributions()}
wanted, brought = ["tensorflow"], set()
while wanted:
    name = wanted.pop()
    if name in found and name not in brought:
        brought.add(name)
        needed = [Requirement(text) for text in found[name].requires or ()]
        wanted += [
            canonicalize_name(one.name)
            for one in needed
            if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
sizes = {}
for name, one in found.items():
    paths = {Path(file.locate()) for file in one.files or ()}
    sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps({"sizes": sizes, "tensorflow": sorted(brought)}))
"""

# A new process up to its second schedule. Compiling happens where the loops are first asked for.
_FIRST = """
import json, sys, time
start = time.perf_counter()
import respect_tf
imported = time.perf_counter()
given, num_stages = sys.argv[1], int(sys.argv[2])
if given.endswith(".tflite"):
    graph, options = respect_tf.OpGraph.from_tflite(given), {}
else:
    from respect_tf.training import random_graph
    graph, options = random_graph("wide", int(given), 0), {"objective": "memory"}
read = time.perf_counter()
from respect_tf import _loops
loops = _loops.library() is not None
compiled = time.perf_counter()
found = respect_tf.schedule(graph, num_stages, **options)
first = time.perf_counter()
respect_tf.schedule(graph, num_stages, **options)
second = time.perf_counter()
print(json.dumps({
    "loops": loops, "import s": imported - start, "read s": read - imported,
    "compile s": compiled - read, "first schedule s": first - compiled,
    "of which solving s": found.solve_seconds, "second schedule s": second - first,
    "status": found.status,
}))
"""


def main() -> None:
    """Measure and write `results/installation.md`."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = _installed(folder / "environment")
        sizes = _size_rows(json.loads(_run(python, "-c", _SIZES)))
        graphs = {**{name: _written(folder, name) for name in _MODELS}, _RANDOM: str(_RANDOM_OPS)}
        rows = [_first_row(python, folder, name, "installed", graphs[name]) for name in graphs]
        for library in (folder / "environment").glob("lib/*/site-packages/respect_tf/_loops/*.so"):
            library.unlink()
        rows += [_first_row(python, folder, name, "not yet", graphs[name]) for name in graphs]
    notes = f"""
A new process in a fresh virtual environment, installed with `pip install .` and nothing else, with
an empty folder of caches each time. "loops": whether the installation brought the search compiled,
as `pip` does it, or the first process has to, as in a checkout. "solving" is what `solve_seconds`
says. {_NUM_STAGES} stages; the models with all defaults, the random graph with the
objective "memory". Seconds of the clock.

{markdown(sizes)}

Sizes of what is on the disk, compiled Python files included.
"""
    write_results("installation", "A plain installation", rows, notes)
    update_page("installation", f"{markdown(rows)}\n\n{notes.strip()}")


def _installed(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", str(_ROOT))
    return python


def _size_rows(found: dict[str, Any]) -> list[Row]:
    """TensorFlow with all that it brings, this package, and the largest of the others."""
    sizes, brought = found["sizes"], set(found["tensorflow"])
    own = sizes.pop("respect-tf")
    sizes.pop("pip", None)  # the environment's own
    beside = {name: size for name, size in sizes.items() if name not in brought}
    largest = sorted(beside, key=lambda name: -beside[name])[:4]
    rest = sum(beside.values()) - sum(beside[name] for name in largest)
    parts = {
        "TensorFlow and what it needs": sum(sizes[name] for name in brought),
        "all that comes beside it": own + sum(beside.values()),
        "of which respect-tf": own,
        **{f"of which {name}": beside[name] for name in largest},
        "of which the rest": rest,
    }
    return [{"part": name, "MB": size / 1e6} for name, size in parts.items()]


def _written(folder: Path, name: str) -> str:
    path = folder / f"{name}.tflite"
    path.write_bytes(int8_model(name))
    return str(path)


def _first_row(python: Path, folder: Path, name: str, loops: str, graph: str) -> Row:
    caches = folder / "caches"
    shutil.rmtree(caches, ignore_errors=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(caches), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    given = ("-c", _FIRST, graph, str(_NUM_STAGES))
    printed = _run(python, *given, environment=environment, folder=folder)
    found = json.loads(printed.splitlines()[-1])
    if not found.pop("loops"):
        loops = "none"
    return {"graph": name, "loops": loops, **found}


def _run(
    python: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    done = subprocess.run(
        [python, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=environment,
        cwd=folder,
    )  # fmt: skip
    return done.stdout


if __name__ == "__main__":
    main()
