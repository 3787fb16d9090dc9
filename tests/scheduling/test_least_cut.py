"""Least cuts: the loop in C, the plain one and enumeration agree."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from respect_tf import _loops
from respect_tf.scheduling._least_cut import Network


@st.composite
def networks(draw):
    num_nodes = draw(st.integers(2, 7))
    pairs = st.tuples(st.integers(0, num_nodes - 1), st.integers(0, num_nodes - 1))
    arcs = draw(st.lists(pairs.filter(lambda arc: arc[0] != arc[1]), max_size=20, unique=True))
    capacity = st.one_of(st.integers(0, 9), st.just(1 << 29))
    capacities = draw(st.lists(capacity, min_size=len(arcs), max_size=len(arcs)))
    return num_nodes, arcs, capacities


@settings(max_examples=150, deadline=None)
@given(network=networks())
def test_least_cuts_agree_with_enumeration(network):
    num_nodes, arcs, capacities = network
    tails, heads = np.array(arcs, np.int64).reshape(-1, 2).T
    made = Network(num_nodes, tails, heads)
    data = np.zeros(made.num_places, np.int32)
    data[made.places] = capacities
    flow, side = made.least_cut(data, 0, 1)
    best = {}
    for inner in itertools.product([False, True], repeat=num_nodes - 2):
        row = (True, False, *inner)
        cost = sum(
            capacity
            for (tail, head), capacity in zip(arcs, capacities, strict=True)
            if row[tail] and not row[head]
        )
        best.setdefault(cost, []).append(row)
    assert flow == min(best)
    smallest = min(best[flow], key=sum)
    assert side.tolist() == list(smallest)
    with_loops, _loops.library = _loops.library, lambda: None
    try:
        plain_flow, plain_side = made.least_cut(data, 0, 1)
    finally:
        _loops.library = with_loops
    assert plain_flow == flow
    assert np.array_equal(plain_side, side)
