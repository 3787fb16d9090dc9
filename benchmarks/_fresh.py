"""An environment with an interpreter package and numpy alone, as a Raspberry Pi has it."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import Pipeline

_PACKAGES = ("ai-edge-litert", "numpy")
_FOLDER = Path(__file__).parents[1] / ".cache" / "fresh"

# The whole model in the same package, with the kernels that the pipeline is run by.
_WHOLE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
model = Interpreter(sys.argv[1], experimental_op_resolver_type=kind)
model.allocate_tensors()
results = []
for sample in np.load(sys.argv[2]):
    model.set_tensor(model.get_input_details()[0]["index"], sample[None])
    model.invoke()
    results.append(model.get_tensor(model.get_output_details()[0]["index"]))
np.save(sys.argv[3], np.concatenate(results))
"""


def fresh_python() -> Path:
    """The Python of the environment, which is made if it is not there."""
    python = _FOLDER / "bin" / "python"
    if not (_FOLDER / "made").exists():
        venv.create(_FOLDER, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *_PACKAGES], check=True)
        (_FOLDER / "made").touch()
    return python


def fresh_parity(pipeline: Pipeline, samples: npt.NDArray[Any], replicas: tuple[int, ...]) -> int:
    """How many samples a saved folder gives the whole model's bytes for, both run over there.

    Args:
        pipeline: A pipeline with one input and one output.
        samples: As the model takes them, [num_samples, ...].
        replicas: Copies of each segment.
    """
    python = fresh_python()
    with TemporaryDirectory() as scratch:
        folder = pipeline.save(Path(scratch) / "saved", verbose=0)
        given, piped, whole = (Path(scratch) / f"{name}.npy" for name in ("in", "piped", "whole"))
        np.save(given, samples)
        script = [python, folder / "run_pipeline.py", "--cpu", "--raw", "--input", given]
        _run([*script, "--output", piped, "--replicas", ",".join(map(str, replicas))])
        model = next(path for path in folder.glob("*.tflite") if "_segment_" not in path.name)
        _run([python, "-c", _WHOLE, model, given, whole])
        pairs = zip(np.load(piped), np.load(whole), strict=True)
        return sum(one.tobytes() == other.tobytes() for one, other in pairs)


def _run(command: list[Any]) -> None:
    words = [str(part) for part in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[1]} failed: {done.stderr}")
