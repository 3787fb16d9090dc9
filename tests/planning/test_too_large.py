"""Pictures that are too large: what is proposed, and that tiles give what the whole gives."""

from __future__ import annotations

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

import respect_tf
from respect_tf import EdgeTpu
from respect_tf.cli import main
from respect_tf.graph import resized
from respect_tf.graph.lowering import lower

# A chip of which activations may take all but a little.
LITTLE_ROOM = dataclasses.replace(
    EdgeTpu.preset("usb2-pi3"), num_tiles=1, tile_bytes=120_000.0, activation_share=1.0,
    activation_cap_mib=110_000 / 2**20,
)  # fmt: skip


def segmenter(size: int = 96, channels: int = 8, *, classes: bool = False) -> keras.Model:
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(8 * channels, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(4 * channels, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(2, 1)(layers.UpSampling2D(4)(x))
    if classes:
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, x, name="segmenter")


def test_a_model_that_fits_is_left_alone():
    plan = respect_tf.plan(lower(segmenter()), 2, device="usb3-pi5", verbose=0)
    assert plan.too_large is None
    assert "too large" not in str(plan)
    assert plan.to_dict()["too_large"] is None


def test_activations_that_leave_no_room_are_named_with_what_fits():
    plan = respect_tf.estimate(segmenter(), 1, device=LITTLE_ROOM, trained=True, verbose=0)
    found = plan.too_large
    assert found is not None
    assert (found.height, found.width) == (96, 96)
    assert "activations leave no room" in found.reason
    smaller, tiles = found.ways
    assert smaller.tiles == 1
    assert smaller.height < 96
    assert tiles.tiles > 1
    assert tiles.pictures_per_second == pytest.approx(tiles.best.frames_per_second / tiles.tiles)
    for way in found.ways:
        inside = resized(plan.graph, way.height, way.width)
        again = respect_tf.plan(inside, 1, device=LITTLE_ROOM, verbose=0)
        assert again.too_large is None
        assert again.best.interval_ms == way.best.interval_ms
        assert again.best.streamed_bytes < plan.best.streamed_bytes
    text = str(plan)
    assert f"an input of {smaller.height}x{smaller.width}" in text
    assert f"{tiles.tiles} tiles of {tiles.height}x{tiles.width}" in text
    told = json.loads(json.dumps(plan.to_dict()))["too_large"]
    assert [way["tiles"] for way in told["ways"]] == [1, tiles.tiles]
    assert "too large" in plan._repr_html_()


def test_tiles_cover_the_picture_and_equal_the_whole():
    model = segmenter()
    plan = respect_tf.estimate(model, 1, device=LITTLE_ROOM, trained=True, verbose=0)
    way = plan.too_large.ways[1]
    tile = keras.models.clone_model(model, input_tensors=keras.Input((way.height, way.width, 3)))
    tile.set_weights(model.get_weights())
    image = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype("float32")
    whole = model.predict(image, verbose=0)
    stitched = np.full_like(whole, np.nan)
    for top, left in starts(way):
        piece = image[:, top : top + way.height, left : left + way.width]
        result = tile.predict(piece, verbose=0)
        inner = [
            slice(0 if start == 0 else shared // 2, None if start + side == 96 else -(shared // 2))
            for start, side, shared in zip(
                (top, left), (way.height, way.width), way.overlap, strict=True
            )
        ]
        rows = np.arange(top, top + way.height)[inner[0]]
        columns = np.arange(left, left + way.width)[inner[1]]
        stitched[np.ix_([0], rows, columns)] = result[:, inner[0], inner[1]]
    np.testing.assert_allclose(stitched, whole, rtol=1e-4, atol=1e-5)


def starts(way):
    """The corners of tiles."""
    sides = []
    for side, shared in zip((way.height, way.width), way.overlap, strict=True):
        count = 1 if side >= 96 else math.ceil((96 - shared) / (side - shared))
        sides.append([min(n * (side - shared), 96 - side) for n in range(count)])
    assert len(sides[0]) * len(sides[1]) == way.tiles
    return [(top, left) for top in sides[0] for left in sides[1]]


def test_outputs_of_the_whole_picture_have_no_tiles():
    model = segmenter(classes=True)
    found = respect_tf.estimate(model, 1, device=LITTLE_ROOM, trained=True, verbose=0).too_large
    assert [way.tiles for way in found.ways] == [1]
    assert found.note == "No tiles: an output depends on the whole picture"


def test_a_size_that_the_compiler_does_not_map_is_named():
    image = keras.Input((512, 512, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(image)
    graph = lower(keras.Model(image, layers.Conv2D(2, 1)(layers.UpSampling2D(name="up")(x))))
    found = respect_tf.plan(graph, 1, device="usb3-pi5", verbose=0).too_large
    assert "RESIZE_NEAREST_NEIGHBOR 'up/" in found.reason
    assert "262,144 pixels" in found.reason
    assert found.ways[0].height == found.ways[0].width < 512


def test_weights_for_one_size_are_named():
    image = keras.Input((96, 96, 3))
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(32, 3, strides=16, padding="same")(x)
    model = keras.Model(image, layers.Dense(2, name="classes")(layers.Flatten()(x)))
    found = respect_tf.estimate(model, 1, device=LITTLE_ROOM, trained=True, verbose=0).too_large
    assert found.ways == ()
    assert "It takes no smaller input" in found.note
    assert "'classes/FULLY_CONNECTED'" in found.note


def test_the_command_says_it(tmp_path):
    device = tmp_path / "little.json"
    LITTLE_ROOM.save(device)
    segmenter().save(tmp_path / "model.keras")
    command = ["plan", str(tmp_path / "model.keras"), "-d", "1", "--device", str(device), "-q"]
    said = CliRunner().invoke(main, command)
    assert said.exit_code == 0, said.output
    assert "Pictures of 96x96 are too large" in said.output
