"""Structural orders, and quick cuts of orders."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from respect_tf.graph import OpGraph
from respect_tf.graph._quick_cuts import quick_cuts
from respect_tf.graph._structural import ORDERS, links_of, longest_paths, structural_orders
from respect_tf.scheduling import PeakMemory, slice_order
from respect_tf.training import FAMILIES, random_graph


def orders_of(graph: OpGraph, num_stages: int) -> dict[str, list[int]]:
    found = structural_orders(
        links_of(graph.edges, graph.num_ops),
        graph.parameter_bytes.astype(np.float64),
        graph.activation_bytes.astype(np.float64),
        num_stages,
    )
    return dict(zip(ORDERS, found.tolist(), strict=True))


def test_links_are_rows_of_the_edges_both_ways() -> None:
    links = links_of(np.array([[0, 2], [0, 3], [1, 2]]), 4)
    assert [links.after.offsets.tolist(), links.after.nodes.tolist()] == [
        [0, 2, 3, 3, 3],
        [2, 3, 2],
    ]
    assert [links.before.offsets.tolist(), links.before.nodes.tolist()] == [
        [0, 0, 0, 2, 3],
        [0, 1, 0],
    ]
    assert links.waiting.tolist() == [0, 0, 2, 1]
    assert links.unread.tolist() == [2, 1, 0, 0]
    mirrored = links.before.mirrored()  # 3 is 0 now, and so on
    assert mirrored.offsets.tolist() == [0, 1, 3, 3, 3]
    assert mirrored.nodes.tolist() == [3, 2, 3]


@pytest.mark.parametrize(("num_stages", "checksum"), [(3, 3657234041), (5, 1358664020)])
def test_orders_are_those_that_the_shipped_weights_know(num_stages: int, checksum: int) -> None:
    found = 0
    for number, family in enumerate(FAMILIES):
        graph = random_graph(family, 60 + number, number)
        orders = np.array(list(orders_of(graph, num_stages).values()), "<i4")
        found = zlib.crc32(orders.tobytes(), found)
    assert found == checksum


def test_weights_of_paths_are_those_of_the_nodes_before() -> None:
    links = links_of(np.array([[0, 1], [0, 2], [1, 3], [2, 3]]), 4)
    weights = np.array([1.0, 5.0, 2.0, 7.0])
    assert longest_paths(links.before, weights).tolist() == [0, 1, 1, 6]
    assert longest_paths(links.after, weights, backward=True).tolist() == [12, 7, 7, 0]
    assert longest_paths(links.before).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_stages", [1, 5])
def test_all_orders_are_topological(family: str, num_stages: int) -> None:
    graph = random_graph(family, 70, 3)
    for name, order in orders_of(graph, num_stages).items():
        place = np.argsort(order)
        assert sorted(order) == list(range(70)), name
        assert np.all(place[graph.edges[:, 0]] < place[graph.edges[:, 1]]), name


#   0 - 1 - 4    two chains from 0 and from 2 that meet in 4
#   2 - 3 -/
def test_each_order_is_what_it_says() -> None:
    graph = OpGraph.from_arrays([1, 1, 1, 1, 1], [9, 1, 5, 7, 1], [[0, 1], [1, 4], [2, 3], [3, 4]])
    found = orders_of(graph, 1)
    assert found["file"] == [0, 1, 2, 3, 4]
    assert found["depth_first"] == [0, 1, 2, 3, 4]
    assert found["late_levels"] == [0, 2, 1, 3, 4]
    assert found["levels_packed"] == [0, 2, 1, 3, 4]
    assert found["least_live"] == [2, 3, 0, 1, 4]  # 2 has fewer bytes, then 3 adds only 2
    assert found["backward"] == [0, 1, 2, 3, 4]


def test_packed_orders_fill_stages_with_what_fits() -> None:
    # Two stages of 10: after 6, 7 does not fit, but 4 does.
    graph = OpGraph.from_arrays([6, 7, 4, 3], [1, 1, 1, 1], np.zeros((0, 2), int))
    assert orders_of(graph, 2)["file"] == [0, 1, 2, 3]
    assert orders_of(graph, 2)["file_packed"] == [0, 2, 1, 3]
    assert orders_of(graph, 1)["file_packed"] == [0, 1, 2, 3]


def cuts_of(graph: OpGraph, num_stages: int, weight: float) -> tuple[float, float, float]:
    """Both quick cuts of the file's order, and what its best cut costs."""
    found = quick_cuts(
        np.arange(graph.num_ops)[None],
        links_of(graph.edges, graph.num_ops).after,
        graph.parameter_bytes + weight * graph.is_model_output * graph.tensor_bytes,
        2.0 * weight * graph.activation_bytes,
        num_stages,
    )
    best = slice_order(graph, np.arange(graph.num_ops), num_stages, PeakMemory(weight)).cost
    assert best is not None
    return (*found[0].tolist(), float(best))


@pytest.mark.parametrize("family", ["levels", "nasnet", "hrnet", "resnet"])
@pytest.mark.parametrize("num_stages", [1, 2, 5])
def test_quick_cuts_are_cuts(family: str, num_stages: int) -> None:
    ratios = []
    for seed in range(4):
        even, with_transfers, best = cuts_of(random_graph(family, 45, seed), num_stages, 1.0)
        assert even <= with_transfers
        assert with_transfers >= best * (1 - 1e-9)
        ratios.append(with_transfers / best)
    assert np.mean(ratios) < 1.4


def test_without_transfers_the_even_cut_is_the_best() -> None:
    for seed in range(5):
        even, same, best = cuts_of(random_graph("wide", 60, seed), 4, 0.0)
        assert even == same == pytest.approx(best, rel=1e-4)


def test_more_stages_than_ops_are_one_op_each() -> None:
    links = links_of(np.array([[0, 1]]), 2)
    found = quick_cuts(np.array([[0, 1]]), links.after, np.ones(2), np.ones(2), 9)
    assert found.tolist() == [[1.0, 1.5]]
