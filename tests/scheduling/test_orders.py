"""Structural orders of items are topological orders; `tests/graph` has the rule of each."""

import numpy as np
import pytest
from hypothesis import given, settings
from schedule_reference import graphs

from respect_tf import OpGraph, PeakMemory
from respect_tf.scheduling._orders import distinct_orders, orders_by_name
from respect_tf.scheduling._problem import build_problem
from respect_tf.training import FAMILIES, random_graph


def problem_of(graph):
    return build_problem(graph, 1, PeakMemory(1.0))


def check_topological(problem, order):
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(problem.num_items))
    position = np.argsort(order)
    assert (position[problem.edges[:, 0]] < position[problem.edges[:, 1]]).all()


@settings(max_examples=150)
@given(graph=graphs(max_ops=12))
def test_orders_of_small_graphs_are_topological(graph):
    problem = problem_of(graph)
    for order in orders_by_name(problem).values():
        check_topological(problem, order)


@pytest.mark.parametrize("family", FAMILIES)
def test_orders_of_families_are_topological_and_repeatable(family):
    problem = problem_of(random_graph(family, 120, seed=3))
    again = orders_by_name(problem)
    for name, order in orders_by_name(problem).items():
        check_topological(problem, order)
        assert np.array_equal(order, again[name])


def test_no_order_is_listed_twice():
    chain = OpGraph.from_arrays([1, 2, 3], [1, 1, 1], [(0, 1), (1, 2)])
    assert [order.tolist() for order in distinct_orders(problem_of(chain))] == [[0, 1, 2]]
    towers = problem_of(random_graph("towers", 60, seed=0))
    orders = distinct_orders(towers)
    assert len(orders) >= 4
    assert len({order.tobytes() for order in orders}) == len(orders)
    assert orders[0].tolist() == list(range(towers.num_items))
