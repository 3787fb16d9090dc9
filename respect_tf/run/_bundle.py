"""What a saved pipeline needs to run where respect_tf is not installed."""

from __future__ import annotations

from importlib import resources

RUN_SCRIPT = "run_pipeline.py"


def run_script() -> bytes:
    """The text of `run_pipeline.py`, which runs a saved folder with numpy and pycoral alone."""
    return resources.files("respect_tf.run").joinpath(f"_{RUN_SCRIPT}").read_bytes()
