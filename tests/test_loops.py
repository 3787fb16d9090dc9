"""The loops in C: their plain twins give the same bits; without a compiler there is another way."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from respect_tf import PeakMemory, _loops, schedule
from respect_tf._loops import _build
from respect_tf.device import ChipCosts, EdgeTpu, _batch_cpu, _tiles
from respect_tf.device._batch_cpu import mapped_ops
from respect_tf.device._tiles import left_out
from respect_tf.graph import _features, _masses, _quick_cuts, _structural
from respect_tf.policy import _forward, propose
from respect_tf.scheduling import check_schedule
from respect_tf.scheduling._orders import orders_by_name
from respect_tf.scheduling._problem import build_problem
from respect_tf.training import random_graph


@pytest.mark.parametrize(
    ("family", "num_ops", "num_stages"),
    [("levels", 30, 1), ("wide", 30, 2), ("levels", 40, 3), ("hrnet", 60, 5), ("towers", 75, 8)],
)
def test_twins_give_the_same_bits(monkeypatch, family, num_ops, num_stages):
    graph = random_graph(family, num_ops, 0)
    problem = build_problem(graph, num_stages, PeakMemory(1.0))

    chip = ChipCosts.of(graph, EdgeTpu.preset("usb3-pi5"))
    random = np.random.default_rng(0)
    supported = random.random(graph.num_ops) < 0.8
    chip = dataclasses.replace(chip, supported=supported)
    stages = random.random((40, graph.num_ops)) < 0.6
    layers = chip.layers_in_turn
    blocks, sizes = chip.parameters.blocks[layers], chip.parameters.block_bytes[layers]
    rooms = random.random(40) * (blocks * sizes).sum() / 16

    def results():
        costs = {"op_costs": graph.parameter_bytes, "transfer_cost": 0.7}
        return [
            *propose(graph, num_stages, **costs),
            *orders_by_name(problem).values(),
            mapped_ops(chip, stages),
            left_out(blocks, sizes, stages[:, layers], rooms, 16),
            _features.graph_features(graph, num_stages, **costs).ops,
        ]

    fast = results()
    for module in (_masses, _quick_cuts, _structural, _features, _forward, _batch_cpu, _tiles):
        monkeypatch.setattr(module, "loop", lambda function: function)
    slow = results()
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("objective", ["memory", PeakMemory(1.0), "throughput"])
def test_without_a_compiler_there_are_schedules_all_the_same(monkeypatch, objective):
    monkeypatch.setattr(_loops, "library", lambda: None)
    for family, num_ops in (("wide", 40), ("unet", 60), ("towers", 90)):
        graph = random_graph(family, num_ops, 1)
        for name in ("policy", "exact", "slicing", "policy-greedy"):
            found = schedule(graph, 3, name, objective=objective, device="usb3-pi5", time_limit=2)
            check_schedule(graph, found, objective if objective != "throughput" else None)
            assert found.lower_bound <= found.cost


def test_the_library_is_built_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(_build, "compilers", lambda: [["no-such-compiler"], [sys.executable]])
    assert _build.build(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_name_changes_with_the_sources(tmp_path, monkeypatch):
    for path in _build.FOLDER.glob("*.[ch]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(_build, "FOLDER", tmp_path)
    same = _build.library_name()
    (tmp_path / "more.c").write_text("int more;\n")
    assert _build.library_name() != same


def test_nobody_loads_numba():
    code = (
        "import sys, respect_tf; from respect_tf.training import random_graph;"
        "respect_tf.schedule(random_graph('wide', 60, 0), 3, objective='memory');"
        "print('numba' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
