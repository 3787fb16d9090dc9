"""Structural orders are topological orders, and each one follows its rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from schedule_reference import graphs

from respect_tf import OpGraph, PeakMemory
from respect_tf._errors import ArgumentError
from respect_tf.scheduling._orders import (
    ORDER_NAMES,
    priority_order,
    structural_order,
    structural_orders,
)
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
    for name in ORDER_NAMES:
        check_topological(problem, structural_order(problem, name))


@pytest.mark.parametrize("family", FAMILIES)
def test_orders_of_families_are_topological_and_repeatable(family):
    problem = problem_of(random_graph(family, 120, seed=3))
    for name in ORDER_NAMES:
        order = structural_order(problem, name)
        check_topological(problem, order)
        assert np.array_equal(order, structural_order(problem, name))


def test_no_order_is_listed_twice():
    chain = OpGraph.from_arrays([1, 2, 3], [1, 1, 1], [(0, 1), (1, 2)])
    assert list(structural_orders(problem_of(chain))) == ["file"]
    towers = problem_of(random_graph("towers", 60, seed=0))
    orders = structural_orders(towers)
    assert len(orders) > 4
    assert len({order.tobytes() for order in orders.values()}) == len(orders)


# Two chains 0-2-4 and 1-3-5 that meet in 6.
LANES = [(0, 2), (2, 4), (1, 3), (3, 5), (4, 6), (5, 6)]


def test_depth_first_follows_a_chain_to_its_end_and_breadth_first_takes_turns():
    problem = problem_of(OpGraph.from_arrays(np.ones(7, int), np.ones(7, int), LANES))
    assert structural_order(problem, "depth_first").tolist() == [0, 2, 4, 1, 3, 5, 6]
    assert structural_order(problem, "breadth_first").tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_depth_first_backward_puts_an_input_right_before_its_reader():
    # 1 has no predecessors, and only the last op reads it.
    problem = problem_of(
        OpGraph.from_arrays(np.ones(4, int), np.ones(4, int), [(0, 2), (2, 3), (1, 3)])
    )
    assert structural_order(problem, "depth_first_backward").tolist() == [0, 2, 1, 3]
    assert structural_order(problem, "late_levels").tolist() == [0, 1, 2, 3]


def test_levels_go_by_the_longest_path():
    problem = problem_of(
        OpGraph.from_arrays(np.ones(5, int), np.ones(5, int), [(0, 1), (1, 2), (3, 4)])
    )
    assert structural_order(problem, "levels").tolist() == [0, 3, 1, 4, 2]


def test_mass_and_critical_path_go_by_where_an_item_lies_on_the_way():
    # A heavy chain 0-2 and a light one 1-3 in front of the same end: middles at 1/4, 3/4; 1/6, 1/2.
    graph = OpGraph.from_arrays(
        [90, 1, 90, 1, 1], np.ones(5, int), [(0, 2), (1, 3), (2, 4), (3, 4)]
    )
    for name in ("mass", "critical_path"):
        assert structural_order(problem_of(graph), name).tolist() == [1, 0, 3, 2, 4]


def test_least_live_finishes_what_frees_most():
    # After 0, op 2 ends a big tensor and makes a small one; 1 only adds a big one.
    graph = OpGraph.from_arrays(np.ones(4, int), [100, 100, 1, 1], [(0, 2), (1, 3), (2, 3)])
    assert structural_order(problem_of(graph), "least_live").tolist() == [0, 2, 1, 3]


def test_priorities_are_followed_where_edges_allow():
    graph = OpGraph.from_arrays(np.ones(4, int), np.ones(4, int), [(0, 3)])
    problem = problem_of(graph)
    assert priority_order(problem, [3, 2, 1, 0]).tolist() == [2, 1, 0, 3]
    assert priority_order(problem, [0, 0, 0, 0]).tolist() == [0, 1, 2, 3]


def test_bad_arguments_are_named():
    problem = problem_of(OpGraph.from_arrays([1, 1], [1, 1], [(0, 1)]))
    with pytest.raises(ArgumentError, match=r"'file'.*Received: 'fastest'"):
        structural_order(problem, "fastest")
    with pytest.raises(ArgumentError, match=r"\[2\]"):
        priority_order(problem, [1.0])
    with pytest.raises(ArgumentError, match="1 NaN"):
        priority_order(problem, [1.0, np.nan])


def test_large_graphs_take_no_quadratic_time():
    problem = problem_of(random_graph("wide", 5000, seed=1))
    for name in ORDER_NAMES:
        check_topological(problem, structural_order(problem, name))
