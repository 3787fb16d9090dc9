"""Labels: optimal, reproducible, resumable, and back from files as they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slow_clock import SlowClock

from respect_tf._errors import ArgumentError, PolicyFileError, SolverError, TrainingError
from respect_tf.scheduling import Schedule, check_schedule, schedule
from respect_tf.training import (
    Label,
    LabelTask,
    _label_shards,
    label_files,
    label_task,
    load_labels,
    read_records,
    run_labels,
    solve_task,
    write_records,
)
from respect_tf.training._label_files import save_labels


def solve_fast(index: int) -> Label:
    task = label_task(index, 0, num_ops=(30, 31), mix=("levels",))
    found = schedule(task.graph(), task.num_stages, "slicing", objective=task.objective)
    return Label(task, found.stages, float(found.cost or 0), float(found.lower_bound or 0))


def test_tasks_are_spread_and_sequences_share_none() -> None:
    tasks = [label_task(index, seed) for seed in (0, 1) for index in range(200)]
    assert len({task.seed for task in tasks}) == 400
    assert {task.num_stages for task in tasks} == {2, 3, 4, 5, 6, 7, 8}
    assert {task.communication_weight for task in tasks} == {0.0, 1.0}
    assert {task.macs_per_byte for task in tasks} == {0.0, 100.0, 1000.0}
    assert {task.num_ops for task in tasks} == set(range(30, 51))
    assert len({task.family for task in tasks}) > 6
    assert label_task(17, 1) == label_task(17, 1)


@pytest.mark.parametrize("index", [2, 4])
def test_a_label_is_the_proved_optimum(index: int) -> None:
    label = solve_task(label_task(index, 7), cross_check=True)
    task = label.task
    assert label.cost == label.lower_bound
    check_schedule(
        task.graph(),
        Schedule(label.stages, task.num_stages, cost=int(label.cost), objective="memory"),
        task.objective,
    )


def test_files_bring_labels_back(tmp_path: Path) -> None:
    labels = [solve_fast(index) for index in range(5)]
    path = tmp_path / "labels.npz"
    save_labels(path, labels)
    found = load_labels([path, path])
    assert len(found) == 10
    for one, two in zip(labels * 2, found, strict=True):
        assert (one.task, one.cost, one.lower_bound) == (two.task, two.cost, two.lower_bound)
        assert np.array_equal(one.stages, two.stages)


def test_a_run_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved: list[int] = []

    def solve(task: LabelTask, *, cross_check: bool, time_limit: float | None) -> Label:
        solved.append(task.seed)
        return solve_fast(task.seed & 0xFF)

    monkeypatch.setattr(_label_shards, "_EXACT_SHARD", 3)
    monkeypatch.setattr(_label_shards, "solve_task", solve)
    first = run_labels(str(tmp_path), 3, records=False, verbose=0).labels
    assert len(solved) == 3
    assert run_labels(str(tmp_path), 8, records=False, verbose=0).labels[:1] == first
    every = label_files(tmp_path, 0)
    assert len(solved) == len(set(solved)) == 9
    assert len(load_labels(every)) == 9
    with pytest.raises(ArgumentError, match="num_labels"):
        run_labels(str(tmp_path), 0)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    save_labels(path, [solve_fast(0)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(PolicyFileError, match=r"labels\.npz"):
        load_labels(path)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options for labels that are cheap to make, three in a file."""
    monkeypatch.setattr(_label_shards, "_EXACT_SHARD", 3)
    monkeypatch.setattr(_label_shards, "_CROSS_CHECK", 1000)
    return {"num_ops": (30, 31), "mix": ("resnet",), "verbose": 0}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_two_processes_of_beam_make_the_files_of_the_plain_loop(
    tmp_path: Path, few: dict[str, Any]
) -> None:
    """Shards of this process alone are small, so Beam's processes finish what it has left open."""
    pytest.importorskip("apache_beam")
    plain = run_labels(str(tmp_path / "plain"), 6, **few)
    names = [f"labels-0-{shard:05d}" for shard in range(2)]
    assert plain.labels == tuple(f"{name}.npz" for name in names)
    assert plain.records == tuple(f"{name}.tfrecord.gz" for name in names)
    expected = contents(tmp_path / "plain")
    assert set(expected) == {*plain.labels, *plain.records}
    # Killed after the first file, and without its records.
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / plain.labels[0]).write_bytes(expected[plain.labels[0]])
    again = run_labels(str(killed), 6, num_processes=2, **few)
    assert dataclasses.replace(again, folder=plain.folder) == plain
    assert contents(killed) == expected


def test_what_has_no_label_is_left_out_with_the_reason(
    tmp_path: Path, few: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def solve(task: LabelTask, *, cross_check: bool, time_limit: float | None) -> Label:
        if task.seed & 0xFF in {1, 3, 4, 5}:
            raise SolverError(f"contradiction in {task.seed & 0xFF}")
        return solve_fast(task.seed & 0xFF)

    monkeypatch.setattr(_label_shards, "solve_task", solve)
    for kept in (0, 1):  # what is known is said again
        made = run_labels(str(tmp_path), 6, records=False, **few)
        assert made.labels == ("labels-0-00000.npz",)
        assert made.num_kept == kept
        assert set(made.failures) == {1, 3, 4, 5}
        assert made.failures[1] == "SolverError: contradiction in 1"
        assert "contradiction in 3" in made.failures[4]
    assert len(load_labels(label_files(tmp_path, 0))) == 2
    assert {path.name for path in (tmp_path / "failed").iterdir()} == {
        "labels-0-00000.json",
        "labels-0-00001.json",
    }


def test_a_graph_without_a_proof_in_time_has_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    task = label_task(8, 0)  # needs more than the search
    SlowClock(monkeypatch, 1.0)
    with pytest.raises(TrainingError, match=r"Task 8 .* after 0\.5 s"):
        solve_task(task, time_limit=0.5)


@pytest.mark.slow
def test_records_bring_graph_tensors_back(tmp_path: Path) -> None:
    from respect_tf.training._labels import example_of, network_inputs

    labels = [solve_fast(index) for index in range(3)]
    path = tmp_path / "labels-0-00000.tfrecord.gz"
    write_records(path, labels)
    batch = next(
        iter(read_records([path]).batch(3).map(lambda graphs: graphs.merge_batch_to_components()))
    )
    expected, _ = network_inputs([example_of(label) for label in labels])
    ops, same = batch.node_sets["op"], expected.node_sets["op"]
    assert np.array_equal(ops["features"], same["features"])
    assert np.array_equal(ops.sizes, same.sizes)
    assert np.array_equal(ops["stage"], np.concatenate([label.stages for label in labels]))
    assert np.array_equal(batch.context["features"], expected.context["features"])
    for name in ("feeds", "fed_by"):
        one, two = batch.edge_sets[name].adjacency, expected.edge_sets[name].adjacency
        assert np.array_equal(one.source, two.source)
        assert np.array_equal(one.target, two.target)
