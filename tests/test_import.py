"""Importing the package is cheap, and its public names are all there."""

import json
import pickle
import subprocess
import sys

import pytest

import respect_tf


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout


def test_importing_loads_next_to_nothing():
    """What an import costs is what it loads, whatever the machine; numpy alone is 100 modules."""
    code = """
import json, sys
before = set(sys.modules)
import respect_tf
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = json.loads(_run(code))
    others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert others == {"respect_tf"}
    assert len(loaded) < 50


@pytest.mark.parametrize("name", respect_tf.__all__)
def test_every_public_name_can_be_had_and_is_documented(name):
    assert name == "__version__" or getattr(respect_tf, name).__doc__


def test_public_functions_can_be_pickled():
    for name in ("schedule", "segment", "convert", "predict", "load", "verify"):
        function = getattr(respect_tf, name)
        assert pickle.loads(pickle.dumps(function)) is function


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = respect_tf.nothing
