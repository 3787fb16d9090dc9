"""Fleets of models: planned without data, converted, saved, simulated and run."""

import json
import subprocess

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

import respect_tf
from respect_tf import ArgumentError
from respect_tf.cli import main


def _model(name, channels):
    keras.utils.set_random_seed(channels)
    start = keras.Input((16, 16, 3))
    tensor = layers.Conv2D(channels, 3, activation="relu")(start)
    tensor = layers.Conv2D(channels, 3, strides=2, activation="relu")(tensor)
    return keras.Model(start, layers.Dense(4)(layers.Flatten()(tensor)), name=name)


@pytest.fixture(scope="module")
def models():
    return {"detector": _model("small", 8), "classifier": _model("large", 64)}


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def fleet(models):
    rates = {"detector": 300.0, "classifier": 40.0}
    return respect_tf.plan_fleet(models, 4, rates, device="usb3-pi5", verbose=0)


def test_a_plan_needs_no_data(fleet):
    assert fleet.is_met
    assert set(fleet.graphs) == {"detector", "classifier"}
    assert "detector" in str(fleet)
    assert "every rate is met" in str(fleet)


@pytest.mark.parametrize("arrivals", ["regular", "poisson"])
def test_the_simulator_agrees_with_the_plan(fleet, arrivals):
    simulation = fleet.simulate(120.0, arrivals=arrivals)
    busiest = max(group.load for group in fleet.groups)
    assert max(simulation.busy) == pytest.approx(busiest, rel=0.02)
    assert simulation.completed["detector"] == pytest.approx(300 * 120, rel=0.01)
    alone = fleet.group_of("detector").inference_ms["detector"]
    assert simulation.latency_ms["detector"][50] >= alone * (1 - 1e-9)


def test_a_converted_fleet_is_saved_with_the_command_that_compiles_it(
    fleet, samples, tmp_path, models
):
    made = fleet.convert(dict.fromkeys(models, samples), verbose=0)
    folder = made.save(tmp_path / "fleet", verbose=0)
    described = json.loads((folder / "fleet.json").read_text())
    assert [group["models"] for group in described["groups"]] == [
        list(group.models) for group in fleet.groups
    ]
    for name, pipeline in made.pipelines.items():
        again = respect_tf.load(folder / name)
        assert again.model == pipeline.model
    script = folder / "compile_fleet.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    shared = [group for group in fleet.groups if len(group.models) > 1]
    assert script.read_text().count("edgetpu_compiler -s") == len(shared)
    with made.runners("cpu", verbose=0) as runners:
        for name, runner in runners.items():
            found = made.pipelines[name].predict(samples[:2], runner=runner)
            np.testing.assert_array_equal(found, made.pipelines[name].predict(samples[:2]))


def test_what_the_plan_has_settled_is_refused(fleet, samples):
    with pytest.raises(ArgumentError, match="device is settled"):
        fleet.convert({}, device="usb3")
    with pytest.raises(ArgumentError, match="data for 'other'"):
        fleet.convert({"other": samples})
    graphs = respect_tf.plan_fleet(fleet.graphs, 4, fleet.rates, device="usb3-pi5", verbose=0)
    with pytest.raises(ArgumentError, match="OpGraph, which has no weights"):
        graphs.convert({})
    with pytest.raises(ArgumentError, match="models must be"):
        respect_tf.plan_fleet([1], 1, {})


def test_the_command_reads_a_description_and_saves(models, samples, tmp_path):
    models["detector"].save(tmp_path / "detector.keras")
    np.save(tmp_path / "images.npy", samples)
    description = tmp_path / "fleet.toml"
    description.write_text(
        'num_devices = 2\ndevice = "usb3-pi5"\n'
        '[models.detector]\npath = "detector.keras"\nrate = 100\nsamples = "images.npy"\n'
    )
    command = ["fleet", str(description), "-o", str(tmp_path / "out"), "-q", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["is_met"] is True
    assert (tmp_path / "out" / "detector" / "pipeline.json").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_devices = ", "no TOML file"),
        ("num_devices = 2", "tables"),
        ("num_devices = true\n[models.a]\npath='x'\nrate=1", "num_devices"),
        ("num_devices = 2\nextra = 1\n[models.a]\npath='x'\nrate=1", "'extra'"),
        ("num_devices = 2\n[models.a]\npath='x'", "rate in models.a"),
        ("num_devices = 2\n[models.a]\npath='x'\nrate=1\nspeed=2", "'speed'"),
        ("num_devices = 2\n[models]\na = 3", "a table"),
    ],
)
def test_descriptions_that_are_none_are_refused_with_the_place(text, message, tmp_path):
    description = tmp_path / "fleet.toml"
    description.write_text(text)
    result = CliRunner().invoke(main, ["fleet", str(description)])
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
