"""The commands about the policy."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from respect_tf import _cli_policy, training
from respect_tf._errors import DependencyError
from respect_tf.policy import load_weights
from respect_tf.policy._weights import Weights, save_weights
from respect_tf.training import FAMILIES, Label, Validation, _label_shards, label_task, load_labels
from respect_tf.training._label_files import save_labels


@pytest.fixture
def few_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_label_shards, "_EXACT_SHARD", 2)
    monkeypatch.setattr(
        _label_shards, "label_task", functools.partial(_label_shards.label_task, mix=("resnet",))
    )


def test_labels_are_made_once(tmp_path: Path, few_labels: None) -> None:
    command = [str(tmp_path / "labels"), "--training", "2", "--validation", "1", "--no-records"]
    result = CliRunner().invoke(_cli_policy.labels, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [Path(path).name for path in found["labels"]] == [
        "labels-1-00000.npz",
        "labels-0-00000.npz",
    ]
    assert found["records"] == []
    assert len(load_labels(found["labels"])) == 4
    before = [Path(path).stat().st_mtime_ns for path in found["labels"]]
    assert CliRunner().invoke(_cli_policy.labels, [*command, "-q"]).exit_code == 0
    assert before == [Path(path).stat().st_mtime_ns for path in found["labels"]]


def test_missing_tfgnn_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise DependencyError("pip install 'respect-tf[train]'")

    monkeypatch.setattr(_label_shards, "load_tfgnn", missing)
    result = CliRunner().invoke(_cli_policy.labels, [str(tmp_path / "labels")])
    assert result.exit_code == 1
    assert "respect-tf[train]" in result.stderr
    assert not (tmp_path / "labels").exists()


def test_training_without_labels_says_how_to_make_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(_cli_policy.train, [str(tmp_path), str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "respect-tf labels" in result.stderr


def test_evaluation_has_a_row_for_each_family(tmp_path: Path) -> None:
    command = ["-n", "30", "--graphs", "1"]
    result = CliRunner().invoke(_cli_policy.evaluate, [*command, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["30"]
    assert [row["family"] for row in rows] == [*FAMILIES, "all"]
    for row in rows:
        assert 0 <= row["structural"] <= row["rule"]
        assert 0 <= row["proposal"] <= min(row["rule"], row["proposal worst"])
    result = CliRunner().invoke(_cli_policy.evaluate, command)
    assert result.stdout.split()[2:6] == ["family", "graphs", "file", "rule"]
    assert "…" not in result.stdout


def test_evaluation_with_other_weights(tmp_path: Path) -> None:
    shipped = load_weights()
    path = tmp_path / "weights.npz"
    save_weights(path, Weights(dict(shipped.arrays), {}))
    command = ["-n", "30", "--graphs", "1", "--json"]
    one, two = (
        CliRunner().invoke(_cli_policy.evaluate, [*command, *more]).stdout
        for more in ([], ["--weights", str(path)])
    )
    assert json.loads(one) == json.loads(two)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(path.read_bytes()[:100])
    result = CliRunner().invoke(_cli_policy.evaluate, [*command, "--weights", str(broken)])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["type"] == "PolicyFileError"


@pytest.mark.slow
def test_what_was_trained_is_saved_with_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def train(run: Path, labels: Any, validation_labels: Any, plan: Any, **options: Any) -> Any:
        given.append((run, len(labels), len(validation_labels), plan.reinforce_steps, options))
        return dict(load_weights().arrays), [
            Validation(150, 1.0, 0.03, 0.2, 0.06, 0.99),
            Validation(300, 1.0, 0.02, 0.2, 0.06, 0.98),
        ]

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "one_thread", lambda: None)  # TensorFlow has begun
    for seed, count in ((0, 2), (1, 1)):
        tasks = [label_task(index, seed, num_ops=(30, 30), mix=("unet",)) for index in range(count)]
        save_labels(
            tmp_path / f"labels-{seed}-00000.npz",
            [Label(task, np.zeros(30, np.int32), 1.0, 1.0) for task in tasks],
        )
    run = tmp_path / "run"
    run.mkdir()
    command = [str(tmp_path), str(run), "--reinforce-steps", "7", "--commit", "abc"]
    result = CliRunner().invoke(_cli_policy.train, [*command, "--time-limit", "9", "-q"])
    assert result.exit_code == 0, result.output
    assert "2.00% above labels" in result.stdout
    assert given == [(run, 2, 1, 7, {"time_limit": 9.0, "strategy": None, "verbose": 0})]
    weights = load_weights(run / "weights.npz")
    assert weights.card["commit"] == "abc"
    assert weights.card["plan"]["reinforce_steps"] == 7
    assert weights.card["metrics"]["step"] == 300
    assert "feeds" in weights.schema
