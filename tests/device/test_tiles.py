"""Blocks of layers in the memories of the tiles."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks._stacks import conv_stack, dense_stack
from respect_tf.device import DeviceCosts, EdgeTpu
from respect_tf.device._tiles import fit_blocks

_DEVICE = EdgeTpu.preset("pcie-m2")


def _streamed(graph, ops=None):
    ops = range(graph.num_ops) if ops is None else ops
    cost = DeviceCosts.of(graph, _DEVICE).stage(ops, [2 * ops[0]], [2 * ops[-1] + 2])
    return len(cost.streamed_ops)


def test_a_layer_of_one_block_more_than_tiles_needs_twice_the_room():
    # Public logs: 1024 units of 6912 inputs are cached, 1042 (17 blocks) are streamed.
    assert fit_blocks([(16, 432 * 1024)], 16, 504 * 1024) == [True]
    assert fit_blocks([(17, 432 * 1024)], 16, 504 * 1024) == [False]


def test_a_layer_that_does_not_fit_leaves_no_block_behind():
    assert fit_blocks([(3, 5), (1, 10), (1, 5)], 2, 10) == [True, False, True]
    assert fit_blocks([(5, 5), (4, 5)], 2, 10) == [False, True]


def test_layers_without_parameters_are_never_streamed():
    assert fit_blocks([(0, 0), (1, 11), (0, 0)], 2, 10) == [True, False, True]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), max_size=12),
    st.integers(1, 16),
    st.integers(0, 60),
)
def test_cached_layers_fit_the_tiles(layers, num_tiles, room):
    cached = fit_blocks(layers, num_tiles, room)
    total = sum(blocks * size for (blocks, size), fits in zip(layers, cached, strict=True) if fits)
    assert total <= num_tiles * room
    assert all(fits for (blocks, _), fits in zip(layers, cached, strict=True) if blocks == 0)
    free = max(0.0, room - max((size for _, size in layers), default=0))
    if sum(blocks * size for blocks, size in layers) <= num_tiles * free:
        assert all(cached)


def test_the_number_of_streamed_layers_of_public_logs():
    # Filters and layers on which the logs of convolution stacks turn.
    assert [_streamed(conv_stack(filters, 4)) for filters in (442, 452, 512, 522, 632, 642)] == [
        0, 1, 1, 2, 2, 3,
    ]  # fmt: skip
    # Segments that read a map of as many channels as they make.
    assert [_streamed(conv_stack(f, 4), [2, 3, 4]) for f in (492, 502, 572, 582)] == [0, 1, 1, 2]
    assert [_streamed(dense_stack(units, 3)) for units in (1600, 1620, 1980, 2020, 2700)] == [
        0, 1, 1, 2, 3,
    ]  # fmt: skip
    wide = [dense_stack(units, 4, inputs=6912) for units in (762, 782, 842, 902, 1042, 1362)]
    assert [_streamed(graph) for graph in wide] == [0, 1, 2, 3, 1, 2]


def test_the_layer_that_takes_most_of_a_tile_asks_for_room_first():
    # The second layer has one block of 64 units. Of the first one, a tile holds several.
    one_block = dense_stack(700, 0, inputs=512, outputs=64)
    assert DeviceCosts.of(one_block, _DEVICE).chip.largest_first.tolist() == [1, 0]
    seven_blocks = dense_stack(6400, 0, inputs=1024, outputs=64)
    assert DeviceCosts.of(seven_blocks, _DEVICE).chip.largest_first.tolist() == [0, 1]
