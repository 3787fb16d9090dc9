"""Orders of any length: the best cut among few positions, and bounds by what stages surely hold."""

import dataclasses
import math

import numpy as np
import pytest
from schedule_reference import make_graph

from respect_tf import EdgeTpu, PeakMemory, Throughput, schedule
from respect_tf.scheduling import _order_search, check_schedule
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._order_search import OrderWindows, search_order
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import find_nodes
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._room_bounds import raised_bound

# So little room that large layers are streamed.
SMALL = dataclasses.replace(
    EdgeTpu.preset("usb3-pi5"), tile_bytes=20_000, bus_ms_per_mib=0.0, name="small"
)


def draw(seed, num_ops, *, is_chain, link=0.5):
    rng = np.random.default_rng(seed)
    edges = [(op, op + 1) for op in range(num_ops - 1) if is_chain or rng.random() < link]
    for op in range(1, num_ops):
        if rng.random() < 0.6:
            edges.append((int(rng.integers(max(0, op - 6), op)), op))
    sizes = rng.integers(0, 100_000, (2, num_ops)).tolist()
    graph = make_graph(sizes[0], sizes[1], sorted(set(edges)))
    return dataclasses.replace(graph, macs=rng.integers(0, 10**8, num_ops))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("device", [SMALL, EdgeTpu.preset("usb3-pc")])
def test_few_positions_hold_the_best_cut(monkeypatch, seed, device):
    num_stages = 2 + seed
    problem = build_problem(draw(seed, 150, is_chain=True), num_stages, Throughput(device))
    order = np.arange(problem.num_items)
    assert problem.has_one_order
    best = search_pairs(IntervalNodes(problem, order), Budget())
    monkeypatch.setattr(_order_search, "MAX_NODES", 20)
    found = search_order(problem, order, Budget())
    assert found.chain.cost == pytest.approx(best.chain.cost, rel=1e-9)
    assert found.lower_bound <= found.chain.cost
    if device is SMALL:
        assert found.lower_bound == found.chain.cost
    assert search_order(problem, order, Budget(), best.chain.cost * 0.999).chain is None


@pytest.mark.parametrize("seed", range(5))
def test_windows_hold_every_cut_that_keeps_the_limit(seed):
    rng = np.random.default_rng(seed)
    problem = build_problem(draw(seed, 40, is_chain=True), 3, Throughput(SMALL))
    order = np.arange(problem.num_items)
    for _ in range(20):
        cut = np.sort(rng.choice(np.arange(1, 40), 2, replace=False))
        cost = answer_of(problem, np.searchsorted(cut, order, side="right")).chain.cost
        first, last = OrderWindows(problem, order).narrow(cost)
        assert (first[1:-1] <= cut).all()
        assert (cut <= last[1:-1]).all()
    assert OrderWindows(problem, order).least(math.inf) <= cost


@pytest.mark.parametrize("seed", range(12))
def test_bounds_by_what_stages_surely_hold_are_below_the_optimum(seed):
    graph = draw(seed, 30, is_chain=False, link=0.9)
    problem = build_problem(graph, 2 + seed % 3, Throughput(SMALL))
    nodes = find_nodes(problem, Budget())
    optimum = search_pairs(nodes, Budget()).chain
    for factor in (1.0, 1.1, 1.5):
        assert raised_bound(problem, factor * optimum.cost) <= optimum.cost * (1 + 1e-9)


def test_they_are_closer_than_what_needs_no_order():
    problem = build_problem(draw(0, 600, is_chain=True), 4, Throughput(SMALL))
    found = search_order(problem, np.arange(600), Budget())
    assert raised_bound(problem, found.chain.cost) > 1.002 * problem.lower_bound()
    assert raised_bound(problem, found.chain.cost) > 0.96 * found.chain.cost
    memory = build_problem(problem.graph, 4, PeakMemory(1.0))
    assert raised_bound(memory, 1.0) == 0.0


@pytest.mark.parametrize("objective", ["throughput", PeakMemory(1.0), "latency"])
def test_a_long_chain_is_cut_as_well_as_can_be(objective):
    graph = draw(1, 3200, is_chain=True)
    graph = make_graph(
        graph.parameter_bytes.tolist(),
        graph.tensor_bytes.tolist(),
        [(op, op + 1) for op in range(graph.num_ops - 1)],
    )
    device = "usb3-pi5" if objective == "latency" else SMALL
    found = schedule(graph, 5, objective=objective, device=device)
    check_schedule(graph, found, objective if objective != "throughput" else Throughput(SMALL))
    if objective != "latency":
        assert found.status == "optimal"
        assert found.proposal_cost == found.cost
