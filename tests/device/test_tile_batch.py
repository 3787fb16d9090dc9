import numpy as np

from respect_tf.device._tiles import fit_blocks, left_out


def draw(rng):
    """Layers in any order, some alike, in stages that have room for about half of them."""
    kinds = [
        (int(rng.integers(1, 40)), int(rng.integers(1, 30) * rng.choice([1, 7, 64])))
        for _ in range(rng.integers(1, 12))
    ]
    layers = [kinds[index] for index in rng.integers(0, len(kinds), rng.integers(1, 40))]
    if rng.random() < 0.7:
        layers.sort(key=lambda layer: -layer[1])
    blocks, sizes = np.array(layers).T
    inside = rng.random((rng.integers(1, 40), len(layers))) < rng.random()
    num_tiles = int(rng.choice([1, 3, 16]))
    room = rng.random(len(inside)) * (blocks * sizes).sum() / num_tiles * 1.2
    return blocks, sizes, inside, room, num_tiles


def test_the_same_layers_find_room_as_one_by_one():
    rng = np.random.default_rng(0)
    num_left_out = 0
    for _ in range(150):
        blocks, sizes, inside, room, num_tiles = draw(rng)
        found = left_out(blocks, sizes, inside, room, num_tiles)
        for stage in range(len(inside)):
            layers = np.flatnonzero(inside[stage])
            asking = zip(blocks[layers].tolist(), sizes[layers].tolist(), strict=True)
            fits = fit_blocks(asking, num_tiles, float(room[stage]))
            assert found[stage, layers].tolist() == [not fit for fit in fits]
        assert not (found & ~inside).any()
        num_left_out += int(found.sum())
    assert num_left_out > 1000


def test_nothing_is_left_out_of_nothing():
    nothing = np.zeros(0, np.int64)
    assert left_out(nothing, nothing, np.zeros((20, 0), bool), np.ones(20), 16).shape == (20, 0)
