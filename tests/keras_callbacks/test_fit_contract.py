"""What `fit` of either Keras package needs of a callback, and when others see its metrics."""

from __future__ import annotations

import copy
import csv
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from callback_models import PACKAGES, classes, images, tiny

import respect_tf
from keras_callbacks import ExportSegments, QuantizationGap, StageBalance
from keras_callbacks._callback import KerasCallback


class Recorder(KerasCallback):
    """Writes down which hooks are called with which epochs, batches and names of metrics."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


def _record(name: str) -> Any:
    def hook(self: Any, *args: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs") or (args[-1] if args and isinstance(args[-1], dict) else {})
        self.calls.append((name, [arg for arg in args if isinstance(arg, int)], sorted(logs)))

    return hook


HOOKS = [name for name in dir(KerasCallback) if name.startswith("on_")]


class Constant(KerasCallback):
    """Adds a metric."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._log(epoch, logs, {"constant": 2.5})


def fit(model: Any, callbacks: list[Any], **arguments: Any) -> Any:
    return model.fit(images(), classes(), callbacks=callbacks, **{"verbose": 0, **arguments})


@pytest.mark.parametrize("package", PACKAGES)
def test_has_all_that_the_packages_own_callbacks_have(package: str) -> None:
    native = importlib.import_module(package).callbacks.Callback
    for name in dir(native()):
        if not name.startswith("_") and name != "validation_data":
            assert hasattr(KerasCallback, name), name
    for name in HOOKS:
        expected = inspect.signature(getattr(native, name)).parameters
        assert list(inspect.signature(getattr(KerasCallback, name)).parameters) == list(expected)


@pytest.mark.parametrize("package", PACKAGES)
def test_is_called_as_the_packages_own_callbacks_are(package: str) -> None:
    native_class = importlib.import_module(package).callbacks.Callback
    recorders = []
    for base in (Recorder, native_class):
        recorder = type("All", (base,), {name: _record(name) for name in HOOKS})()
        recorder.calls = []
        recorders.append(recorder)
    model = tiny(package)
    fit(model, recorders, epochs=2, batch_size=12, validation_data=(images(), classes()))
    model.predict(images(), callbacks=recorders, verbose=0)
    assert len(recorders[0].calls) > 20
    assert recorders[0].calls == recorders[1].calls


@pytest.mark.parametrize("hook", ["on_batch_end", "on_train_batch_end"])
@pytest.mark.parametrize("package", PACKAGES)
def test_a_subclass_may_have_batch_hooks(package: str, hook: str) -> None:
    recorder = type("Batches", (Recorder,), {hook: _record(hook)})()
    fit(tiny(package), [recorder], batch_size=8)
    assert [batches for _, batches, _ in recorder.calls] == [[0], [1], [2]]


def test_costs_nothing_at_batches() -> None:
    import keras
    import tf_keras

    callbacks = [StageBalance(2), KerasCallback()]
    plain = keras.callbacks.CallbackList([keras.callbacks.Callback()])
    if hasattr(plain, "_async_train"):  # Keras 3.5 and later
        assert keras.callbacks.CallbackList(callbacks)._async_train == plain._async_train
    assert not tf_keras.callbacks.CallbackList(callbacks)._should_call_train_batch_hooks


@pytest.mark.parametrize("package", PACKAGES)
def test_metrics_reach_what_comes_later_and_history_wherever_it_is(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = importlib.import_module(package).callbacks
    table = tmp_path / "table.csv"
    later = [
        callbacks.CSVLogger(str(table)),
        callbacks.EarlyStopping(monitor="constant", mode="min"),
        callbacks.TensorBoard(str(tmp_path / "board"), write_graph=False),
    ]
    model = tiny(package)
    history = fit(model, [Constant(), *later], epochs=2, verbose=2)
    assert history.history["constant"] == [2.5, 2.5]
    assert "constant: 2.5" in capsys.readouterr().out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["constant"] for row in rows] == ["2.5", "2.5"]
    (events,) = (tmp_path / "board").rglob("events.out.*")
    assert b"epoch_constant" in events.read_bytes()
    first = callbacks.History()
    for epochs in (2, 3):
        fit(model, [first, Constant()], epochs=epochs)
    assert len(first.history["constant"]) == len(first.history["loss"]) == 5


def test_importing_loads_neither_tensorflow_nor_keras() -> None:
    code = (
        "import sys, keras_callbacks\n"
        "assert not {'tensorflow', 'keras', 'tf_keras', 'scipy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


CALLBACKS = [
    ExportSegments(
        "runs/{epoch}",
        3,
        images(),
        every=2,
        monitor="loss",
        overwrite=False,
        on_error="raise",
        device="pcie",
        scheduler="exact",
    ),
    StageBalance(3, device="usb2", budget_ms=2.0, scheduler="exact", verbose=0),
    QuantizationGap(images(), classes(), images(), name="share", every=3, strict=False),
]


@pytest.mark.parametrize("callback", CALLBACKS, ids=lambda callback: type(callback).__name__)
def test_config_gives_the_same_callback_and_copies_are_independent(callback: Any) -> None:
    config = callback.get_config()
    again = type(callback).from_config(config)
    for name, value in again.get_config().items():
        assert value is config[name], name
    copied = copy.deepcopy(callback)
    copied.errors.append((1, ValueError()))
    assert not callback.errors
    assert copied.get_config().keys() == config.keys()


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: ExportSegments("a", 0), "num_segments"),
        (lambda: ExportSegments("a", 2, every=0), "every"),
        (lambda: ExportSegments("a", 2, every=True), "every"),
        (lambda: ExportSegments("a{", 2), "braces"),
        (lambda: ExportSegments("a{}", 2), "without a name"),
        (lambda: ExportSegments("a", 2, monitor="loss", mode="best"), "mode"),  # type: ignore[arg-type]
        (lambda: ExportSegments("a", 2, monitor="beauty"), 'mode="min"'),
        (lambda: ExportSegments("a", 2, on_error="ignore"), "on_error"),  # type: ignore[arg-type]
        (lambda: ExportSegments("a", 2, verbose=7), "verbose"),  # type: ignore[arg-type]
        (lambda: ExportSegments("a", 2, num_stages=3), "no option 'num_stages'"),
        (lambda: StageBalance(0), "num_segments"),
        (lambda: StageBalance(2, budget_ms=0), "budget_ms"),
        (lambda: StageBalance(2, budget_ms=float("nan")), "budget_ms"),
        (lambda: StageBalance(2, device="usb9"), "usb9"),
        (lambda: StageBalance(2, verify=True), "no option 'verify'"),
        (lambda: QuantizationGap([1], [1], every=-1), "every"),
        (lambda: QuantizationGap([1], [1], metric="beauty"), "metric"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_training(make: Any, part: str) -> None:
    with pytest.raises(respect_tf.ArgumentError, match=part):
        make()
