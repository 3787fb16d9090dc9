"""Loops of plans: the twin in C gives the same bits, and both what slow enumeration gives."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respect_tf.planning import _chains, _loops
from respect_tf.planning._chains import SharedChains
from respect_tf.planning._table import Column


@st.composite
def shared_chains(draw):
    num_nodes = draw(st.integers(2, 6))
    every = list(itertools.combinations(range(num_nodes), 2))
    pairs = sorted(draw(st.lists(st.sampled_from(every), min_size=1, unique=True)))
    amounts = st.lists(
        st.integers(0, 40).map(lambda n: n / 4), min_size=len(pairs), max_size=len(pairs)
    )
    column = Column(np.array(draw(amounts)), np.array(draw(amounts)), 0.0, 1.0)
    rows, columns = np.array(pairs, np.int64).T
    num_devices = draw(st.integers(1, 5))
    most_replicas = draw(st.sampled_from([1, num_devices]))
    uses_all = draw(st.booleans())
    return SharedChains(num_nodes, rows, columns, column, num_devices, most_replicas, uses_all)


def paths(shared, limit):
    """All chains: their stages, devices and loads."""
    counts = shared.devices_within(limit)

    def longer(node, used, load, path):
        if node == shared.num_nodes - 1:
            yield path, used, load
        for pair in np.flatnonzero(shared.rows == node).tolist():
            total = used + int(counts[pair])
            if total <= shared.num_devices:
                more = load + float(shared.column.loads[pair])
                yield from longer(int(shared.columns[pair]), total, more, [*path, pair])

    return list(longer(0, 0, 0.0, []))


@given(shared_chains(), st.sampled_from([0.0, 0.3, 1.0, 2.5, 4.0, 11.0]))
@settings(max_examples=150, deadline=None)
def test_loops_agree_with_enumeration(shared, limit):
    found = paths(shared, limit)
    loads = [load for _, used, load in found if not shared.uses_all or used == shared.num_devices]
    assert shared.least_loads(limit)[-1, -1] == min(loads, default=math.inf)
    within = set(itertools.chain.from_iterable(p for p, _, load in found if load <= limit))
    assert set(np.flatnonzero(shared.within(limit)).tolist()) == within
    assert within <= set(np.flatnonzero(shared.near(limit)).tolist())


@pytest.mark.parametrize("seed", range(4))
def test_twins_give_the_same_bits(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(np.triu(rng.random((40, 40)) < 0.6, 1))
    column = Column(rng.exponential(3.0, len(rows)), rng.exponential(1.0, len(rows)), 0.0, 1.0)
    results = []
    for _ in range(2):
        for most_replicas, uses_all, limit in itertools.product((1, 4), (False, True), (0.0, 2, 6)):
            shared = SharedChains(40, rows, columns, column, 4, most_replicas, uses_all)
            results += [shared.near(limit), shared.within(limit)]
            results += [shared.least_loads(limit, backward=back) for back in (False, True)]
        for module in (_loops, _chains):
            monkeypatch.setattr(module, "loop", lambda function: function)
    half = len(results) // 2
    for one, other in zip(results[:half], results[half:], strict=True):
        np.testing.assert_array_equal(one, other)
