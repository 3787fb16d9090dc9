import hashlib

import numpy as np
import pytest

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph
from respect_tf.training import FAMILIES, random_graph

STRUCTURED = sorted(set(FAMILIES) - {"levels", "wide"})


def digest(graph):
    parts = [graph.parameter_bytes, graph.tensor_bytes, graph.macs, graph.edges]
    data = b"".join(part.astype("<i8").tobytes() for part in parts)
    return hashlib.sha256(data + "".join(graph.op_names).encode()).hexdigest()


def num_ideals(graph, most=5000):
    """Order ideals by plain enumeration, up to a number."""
    needs = [set() for _ in range(graph.num_ops)]
    for maker, reader in graph.edges.tolist():
        needs[reader].add(maker)
    found = layer = {frozenset()}
    while layer and len(found) < most:
        layer = {
            ideal | {op}
            for ideal in layer
            for op in range(graph.num_ops)
            if op not in ideal and needs[op] <= ideal
        }
        found = found | layer
    return len(found)


def levels_of(graph):
    level = [0] * graph.num_ops
    for maker, reader in sorted(graph.edges.tolist(), key=lambda edge: edge[1]):
        level[reader] = max(level[reader], level[maker] + 1)
    return level


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_ops", [30, 31, 47, 100, 299, 1000])
def test_graphs_have_the_size_asked_for_and_bytes_like_layers(family, num_ops):
    graph = random_graph(family, num_ops, seed=num_ops)
    assert isinstance(graph, OpGraph)
    assert graph.num_ops == num_ops
    assert np.all(graph.edges[:, 0] < graph.edges[:, 1])  # in topological order
    total = int(graph.parameter_bytes.sum())
    assert 15_000 < total < 1_000_000_000
    assert graph.parameter_bytes.max() < 0.9 * total
    assert graph.tensor_bytes.min() > 0
    assert graph.tensor_bytes.max() <= 4_000_000
    assert graph.macs.min() > 0
    has_parameters = graph.parameter_bytes > 0
    assert 0.1 < has_parameters.mean() < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_seed_decides(family):
    first = random_graph(family, 60, 7)
    assert digest(first) == digest(random_graph(family, 60, 7))
    others = {digest(random_graph(family, 60, seed)) for seed in range(20)}
    assert len(others) == 20


EXPECTED = {
    "fpn": "8aa23a71e576",
    "hrnet": "e3a277cc0bf7",
    "levels": "ff90457f8ff4",
    "densenet": "de62a0c0d98e",
    "inception": "537be1c0570d",
    "mobilenet": "945e6466aa7d",
    "resnet": "eef5e0b7c7bf",
    "nasnet": "8608289a9b17",
    "randwire": "261a73625a2f",
    "towers": "1bda9fc64065",
    "transformer": "c7b415fb7dab",
    "unet": "b7b12122280d",
    "wide": "6758436d9e45",
}


def test_the_seed_decides_on_every_machine():
    """Only the raw stream of PCG64 is used, which numpy keeps stable."""
    found = {family: digest(random_graph(family, 64, 1))[:12] for family in FAMILIES}
    assert found == EXPECTED


@pytest.mark.parametrize("family", STRUCTURED)
def test_structured_graphs_hang_together_and_have_branches(family):
    graph = random_graph(family, 120, 3)
    neighbours = [[] for _ in range(graph.num_ops)]
    for maker, reader in graph.edges.tolist():
        neighbours[maker].append(reader)
        neighbours[reader].append(maker)
    seen, todo = {0}, [0]
    while todo:
        fresh = set(neighbours[todo.pop()]) - seen
        seen |= fresh
        todo += fresh
    assert len(seen) == graph.num_ops
    assert np.bincount(graph.edges[:, 0]).max() >= 2
    assert np.bincount(graph.edges[:, 1]).max() >= 2
    one_output = family != "fpn"
    assert (len(graph.model_outputs) == 1) == one_output


def test_paper_like_graphs_have_its_levels_and_in_degrees():
    for seed in range(50):
        graph = random_graph("levels", 30, seed)
        assert 10 <= max(levels_of(graph)) + 1 <= 25
        assert np.bincount(graph.edges[:, 1], minlength=30).max() <= 6
        in_degree = np.bincount(graph.edges[:, 1], minlength=30)
        level = np.array(levels_of(graph))
        # From the third level on there are always two ops before to read from.
        assert in_degree[level >= 2].min() >= 2


def test_a_single_op_is_a_graph():
    assert random_graph("wide", 1, 0).num_ops == 1


def test_wide_graphs_have_many_ideals():
    assert num_ideals(random_graph("wide", 50, 0)) >= 5000
    assert num_ideals(random_graph("towers", 60, 0)) >= 5000


def test_transformers_have_their_heads_apart():
    graph = random_graph("transformer", 200, 0)
    concatenated = [op for op, name in enumerate(graph.op_names) if name.startswith("concatenate")]
    heads = {int(np.sum(graph.edges[:, 1] == op)) for op in concatenated}
    assert heads <= {2, 3, 4, 6, 8, 12}
    assert len(heads) == 1
    products = sum(name.startswith("product") for name in graph.op_names)
    assert products == 2 * heads.pop() * len(concatenated)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg", 30, 0), "Unknown family.*'fpn'.*'vgg'"),
        (("unet", 29, 0), "num_ops must be a whole number, 30 or more. Received: 29"),
        (("wide", 0, 0), "num_ops must be a whole number, 1 or more"),
        (("wide", 30.0, 0), "num_ops"),
        (("wide", 30, -1), "seed"),
        (("wide", 30, True), "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        random_graph(*arguments)
