import json
import subprocess
import sys

import numba
import numpy as np
import pytest

from respect_tf._compiled import compiled, compiled_once, is_on_disk, loop


def add_one(number):
    return number + 1


def never_compiled(number):
    return number + 2


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(monkeypatch):
    honest = numba.njit

    def without_folder(function=None, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return honest(function) if function is not None else without_folder

    monkeypatch.setattr(numba, "njit", without_folder)
    assert compiled(add_one)(3) == 4


def test_what_was_never_compiled_is_not_on_disk():
    assert not is_on_disk(never_compiled)


def test_a_function_is_compiled_once():
    assert compiled_once(add_one) is compiled_once(add_one)
    assert loop(add_one, 1) is compiled_once(add_one)  # numba is loaded
    assert loop(add_one, 1)(3) == 4


def test_plain_python_does_small_work_until_it_adds_up():
    code = (
        "import json, sys; from respect_tf._compiled import _PLAIN_STEPS, loop\n"
        "def add_one(number): return number + 1\n"
        "small = [loop(add_one, _PLAIN_STEPS // 3) is add_one for _ in range(3)]\n"
        "late, before = 'numba' in sys.modules, loop(add_one, 2) is add_one\n"
        "print(json.dumps([small, late, before, 'numba' in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [[True] * 3, False, False, True]


@pytest.mark.parametrize(
    ("family", "num_ops", "num_stages"),
    [("levels", 1, 1), ("wide", 2, 2), ("levels", 40, 3), ("hrnet", 60, 5), ("towers", 75, 8)],
)
def test_loops_give_the_same_bits_compiled_or_not(monkeypatch, family, num_ops, num_stages):
    from respect_tf.graph import _features, _quick_cuts, _structural
    from respect_tf.policy import _forward, propose
    from respect_tf.scheduling import PeakMemory, _orders
    from respect_tf.scheduling._problem import build_problem
    from respect_tf.training import random_graph

    def results():
        graph = random_graph(family, num_ops, 0)
        problem = build_problem(graph, num_stages, PeakMemory(1.0))
        orders = [_orders.structural_order(problem, name) for name in _orders.ORDER_NAMES]
        return [
            _features.graph_features(graph, num_stages, transfer_cost=0.7).ops,
            _features.graph_features(graph, num_stages, transfer_cost=0.7).graph,
            propose(graph, num_stages, transfer_cost=0.7),
            *orders,
        ]

    fast = results()
    for module in (_features, _quick_cuts, _structural, _forward, _orders):
        monkeypatch.setattr(module, "loop", lambda function, num_steps: function)
    for one, other in zip(fast, results(), strict=True):
        np.testing.assert_array_equal(one, other)
