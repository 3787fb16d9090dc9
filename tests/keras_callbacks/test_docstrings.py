"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import pathlib
from typing import Any

import pytest

import keras_callbacks

FOR_THE_POLICY = ("OptimalityGap",)


def run(docstring_of: Any, names: dict[str, Any]) -> dict[str, Any]:
    """Run the example in a docstring, and return the names that it leaves behind."""
    test = doctest.DocTestParser().get_doctest(docstring_of.__doc__, names, "example", None, 0)
    results = doctest.DocTestRunner().run(test, clear_globs=False)
    assert results.attempted >= 3
    assert results.failed == 0
    return test.globs


@pytest.mark.parametrize("name", sorted(set(keras_callbacks.__all__) - {*FOR_THE_POLICY}))
def test_the_example_with_a_model_runs(name: str, tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run(getattr(keras_callbacks, name), run(keras_callbacks, {}))


@pytest.mark.parametrize("name", FOR_THE_POLICY)
def test_the_example_with_the_policys_network_runs(
    name: str, tmp_path: pathlib.Path, monkeypatch: Any, network: Any, labels: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"pathlib": pathlib, "network": network, "labels": labels}
    run(getattr(keras_callbacks, name), {**vars(keras_callbacks), **given})
    network.stop_training = False
