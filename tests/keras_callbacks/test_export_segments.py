"""`ExportSegments` in trainings that go well, that fail, and that go on."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from callback_models import (
    PACKAGES,
    any_length,
    classes,
    images,
    small_cnn,
    tiny,
    two_inputs,
    unbuilt,
    vectors,
)

import respect_tf
from keras_callbacks import ExportSegments, QuantizationGap
from keras_callbacks._callback import KerasCallback

FAST = {"scheduler": "slicing", "verify": False}


class Metrics(KerasCallback):
    """Puts given values of a metric into the logs."""

    def __init__(self, values: list[float], name: str = "score") -> None:
        self.values, self.name = values, name

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._log(epoch, logs, {self.name: self.values[epoch]})


class StopAt(KerasCallback):
    """Ends training as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


def fit(model: Any, callbacks: list[Any], epochs: int = 1, **arguments: Any) -> Any:
    return model.fit(
        images(), classes(), epochs=epochs, callbacks=callbacks, verbose=0, **arguments
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_the_trained_model_at_the_end(package: str, tmp_path: Path) -> None:
    model = small_cnn(package)
    export = ExportSegments(tmp_path / "end", 2, images(), scheduler="slicing")
    fit(model, [export], epochs=2)
    saved = respect_tf.load(tmp_path / "end")
    expected = respect_tf.convert(model, 2, images(), scheduler="slicing", verbose=0)
    assert saved.model == expected.model
    assert [one.content for one in saved.segments] == [one.content for one in expected.segments]
    assert export.result is not None
    assert export.result.model == expected.model
    assert export.result.parity is not None
    assert (export.paths, export.errors, export.last_error) == ([tmp_path / "end"], [], None)


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_every_so_many_epochs_into_folders_by_template(
    package: str, tmp_path: Path
) -> None:
    template = tmp_path / "{epoch:02d}-{score:.1f}"
    export = ExportSegments(template, 2, images(), every=2, **FAST)
    fit(tiny(package), [Metrics([0.0, 1.0, 2.0, 3.0, 4.0]), export], epochs=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["02-1.0", "04-3.0"]
    models = [respect_tf.load(path).model for path in export.paths]
    assert models[0] != models[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_the_best_values_only(package: str, tmp_path: Path) -> None:
    template = tmp_path / "{epoch}"
    export = ExportSegments(template, 2, images(), monitor="score", mode="max", **FAST)
    scores = Metrics([0.5, 0.4, float("nan"), 0.6, 0.6])
    model = tiny(package)
    fit(model, [scores, export], epochs=5)
    assert [path.name for path in export.paths] == ["1", "4"]
    assert export.best == 0.6
    # A new training starts anew; one that goes on does not.
    fit(model, [scores, export], epochs=1)
    assert [path.name for path in export.paths] == ["1"]
    fit(model, [scores, export], epochs=4, initial_epoch=1)
    assert [path.name for path in export.paths] == ["4"]


def test_the_best_value_of_an_earlier_process_can_be_given(tmp_path: Path) -> None:
    export = ExportSegments(
        tmp_path / "best", 2, images(), monitor="my_loss", initial_value_threshold=0.4, **FAST
    )
    fit(tiny("keras"), [Metrics([0.5, 0.4], "my_loss"), export], epochs=2)
    assert (export.paths, export.best) == ([], 0.4)


def test_exports_by_the_int8_accuracy_of_another_callback(tmp_path: Path) -> None:
    export = ExportSegments(tmp_path / "best", 2, images(), monitor="int8_accuracy", **FAST)
    history = fit(tiny("tf_keras"), [QuantizationGap(images(), classes()), export])
    assert export.best == history.history["int8_accuracy"][0]
    assert export.paths


def test_a_monitored_metric_that_is_missing_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ExportSegments(tmp_path / "best", 2, images(), monitor="val_loss")
    fit(tiny("keras"), [export], epochs=3)
    assert [epochs for epochs, _ in export.errors] == [1, 2, 3]
    assert capsys.readouterr().err.count("no metric 'val_loss'") == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_failure_inside_an_export_leaves_training_and_the_last_export_alone(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []

    def samples() -> Any:
        runs.append(1)
        for sample in images():
            if len(runs) > 1:
                raise OSError("the camera is gone")
            yield [sample[None]]

    export = ExportSegments(tmp_path / "run", 2, samples, every=1, **FAST)
    history = fit(tiny(package), [export], epochs=3)
    assert len(history.history["loss"]) == 3
    assert [epochs for epochs, _ in export.errors] == [2, 3]
    assert isinstance(export.last_error, respect_tf.CalibrationDataError)
    error = capsys.readouterr().err
    assert error.count("the camera is gone") == 1
    assert "after 2 epochs" in error
    assert export.result is not None
    assert respect_tf.load(tmp_path / "run").model == export.result.model
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_failure_ends_training_if_asked_to(package: str, tmp_path: Path) -> None:
    steps, expected = vectors(20).reshape(-1, 5, 3)[:8], classes(8)
    export = ExportSegments(tmp_path / "run", 2, steps, every=1, on_error="raise")
    with pytest.raises(respect_tf.UnsupportedModelError, match="steps"):
        any_length(package).fit(steps, expected, callbacks=[export], verbose=0)
    assert len(export.errors) == 1


def test_an_unexpected_error_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = ExportSegments(tmp_path / "run", 2, images(), on_error="raise")

    def broken(*args: Any, **options: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(respect_tf, "convert", broken)
    with pytest.raises(respect_tf.ConversionError, match=r"after 1 epoch .*ZeroDivisionError"):
        fit(tiny("keras"), [export])


def test_nothing_is_printed_if_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ExportSegments(tmp_path / "run", 2, None, verbose=0)
    fit(tiny("keras"), [export])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert isinstance(export.last_error, respect_tf.CalibrationDataError)


def test_a_folder_that_is_no_pipeline_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    export = ExportSegments(tmp_path, 2, images(), **FAST)
    seen = []

    class Early(KerasCallback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            seen.append(capsys.readouterr().err)

    fit(tiny("keras"), [export, Early()])
    assert "holds no pipeline.json" in seen[0]  # said before the training
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert isinstance(export.last_error, respect_tf.SavedPipelineError)


def test_an_earlier_pipeline_is_replaced_unless_forbidden(tmp_path: Path) -> None:
    folder, model = tmp_path / "run", tiny("keras")
    fit(model, [ExportSegments(folder, 2, images(), every=1, **FAST)])
    first = content(folder)
    kept = ExportSegments(folder, 2, images(), every=1, overwrite=False, verbose=0, **FAST)
    fit(model, [kept], epochs=2)
    assert content(folder) == first
    assert isinstance(kept.last_error, respect_tf.SavedPipelineError)
    shutil.rmtree(folder)
    fit(model, [kept], epochs=2)  # replaces its own
    assert kept.errors == []
    assert kept.result is not None
    assert respect_tf.load(folder).model == kept.result.model != first


@pytest.mark.parametrize("package", PACKAGES)
def test_goes_on_with_backup_and_restore(package: str, tmp_path: Path) -> None:
    backup = importlib.import_module(package).callbacks.BackupAndRestore
    template = tmp_path / "{epoch}"
    export = ExportSegments(template, 2, images(), monitor="score", mode="min", **FAST)
    scores = Metrics([0.3, 0.2, 0.25, 0.1])
    for stop in (2, None):
        callbacks = [scores, export, backup(str(tmp_path / "backup"))]
        model = tiny(package)
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                fit(model, [*callbacks, StopAt(stop)], epochs=4)
            assert [path.name for path in export.paths] == ["1", "2"]
        else:
            fit(model, callbacks, epochs=4)
    assert [path.name for path in export.paths] == ["4"]
    assert export.best == 0.1


def test_the_same_callback_serves_both_packages_in_turn(tmp_path: Path) -> None:
    export = ExportSegments(tmp_path / "run", 2, images(), **FAST)
    models = {}
    for package in PACKAGES:
        fit(tiny(package, units=4 if package == "keras" else 6), [export])
        models[package] = respect_tf.load(tmp_path / "run").model
        assert export.errors == []
    assert models["keras"] != models["tf_keras"]


@pytest.mark.parametrize("package", PACKAGES)
def test_models_with_two_inputs_and_those_built_by_fit(package: str, tmp_path: Path) -> None:
    data = {"image": images(), "vector": vectors()}
    export = ExportSegments(tmp_path / "two", 2, data, **FAST)
    model = two_inputs(package)
    model.fit(list(data.values()), classes(), callbacks=[export], verbose=0)
    found = respect_tf.load(tmp_path / "two").predict(data)
    assert np.abs(found - model.predict(list(data.values()), verbose=0)).max() < 0.05
    export = ExportSegments(tmp_path / "unbuilt", 2, images(), **FAST)
    fit(unbuilt(package), [export])
    assert respect_tf.load(tmp_path / "unbuilt").predict(images()).shape == (24, 4)


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_what_early_stopping_restores(package: str, tmp_path: Path) -> None:
    stopping = importlib.import_module(package).callbacks.EarlyStopping(
        monitor="score", mode="max", patience=1, restore_best_weights=True
    )
    each = ExportSegments(tmp_path / "{epoch}", 2, images(), every=1, **FAST)
    last = ExportSegments(tmp_path / "last", 2, images(), **FAST)
    fit(tiny(package), [Metrics([0.9, 0.1, 0.1]), each, stopping, last], epochs=3)
    assert last.result is not None
    assert last.result.model == respect_tf.load(tmp_path / "1").model
