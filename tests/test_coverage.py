"""A few small models of the coverage benchmark map completely, proved and about as exact."""

from __future__ import annotations

import pytest

from benchmarks._same_bytes import same_bytes
from benchmarks.coverage import measure

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.mark.parametrize(
    "name", ["YOLO with SiLU", "U-Net, nearest", "Mixer, ReLU", "pose, hard swish"]
)
def test_it_maps_completely_with_safe_rewriting(name):
    row = measure(name)
    assert row["safe"] == "all"
    assert row["cpu_safe"] == 0
    assert row["cpu_off"] > 0
    assert row["parity"] == "yes"
    assert row["error_safe"] < row["error_off"] + 0.05
    assert row["rules"]


def test_what_only_an_approximation_maps_is_told_apart():
    row = measure("Mixer, GELU")
    assert row["safe"] == "no: GELU"
    assert row["all"] == "all"
    assert row["cpu_all"] == 0


# All ten are a row of `python -m benchmarks coverage`.
@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121"])
def test_the_models_of_the_paper_stay_as_they_are(name):
    assert same_bytes(name)
