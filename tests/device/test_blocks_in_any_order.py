"""Blocks for many stages at once, in orders in which they grow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from respect_tf.device._tiles import fit_blocks, left_out


@given(st.data())
def test_layers_of_many_stages_are_placed_like_those_of_one(data):
    integers = st.integers
    layers = data.draw(
        st.lists(st.tuples(integers(1, 30), integers(1, 40)), min_size=1, max_size=8)
    )
    num_stages, num_tiles = data.draw(integers(1, 6)), data.draw(integers(1, 16))
    flags = st.lists(st.booleans(), min_size=len(layers), max_size=len(layers))
    inside = np.array([data.draw(flags) for _ in range(num_stages)])
    room = np.array([data.draw(integers(0, 120)) for _ in range(num_stages)], np.float64)
    blocks, sizes = np.array(layers).T
    found = left_out(blocks, sizes, inside, room, num_tiles)
    for stage in range(num_stages):
        held = np.flatnonzero(inside[stage])
        fits = fit_blocks([layers[i] for i in held], num_tiles, room[stage])
        expected = np.zeros(len(layers), bool)
        expected[held] = ~np.array(fits, bool)
        assert found[stage].tolist() == expected.tolist()
