"""Small models of the kinds that people run on Edge TPUs: sound, series, tables, text."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from benchmarks._architectures_maps import Builder


def _keyword() -> keras.Model:
    spectrum = keras.Input((48, 40, 1))
    x = layers.Conv2D(16, (10, 4), 2, padding="same", activation="relu")(spectrum)
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = layers.Conv2D(16, 1, activation="relu")(x)
    x = layers.Dense(12, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(spectrum, x)


def _tcn() -> keras.Model:
    series = x = keras.Input((64, 8))
    for rate in (1, 2, 4):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = y + layers.Conv1D(16, 1)(x)
    return keras.Model(series, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def _wavenet() -> keras.Model:
    series = keras.Input((64, 4))
    x = layers.Conv1D(16, 2, padding="causal")(series)
    for rate in (1, 2):
        gate = layers.Conv1D(16, 2, padding="causal", dilation_rate=rate, activation="sigmoid")(x)
        wave = layers.Conv1D(16, 2, padding="causal", dilation_rate=rate, activation="tanh")(x)
        x = x + layers.Conv1D(16, 1)(gate * wave)
    return keras.Model(series, layers.Conv1D(4, 1)(x))


def _recurrent(layer: Any, **options: Any) -> Builder:
    def build() -> keras.Model:
        series = keras.Input((8, 6))
        x = layer(16, unroll=True, return_sequences=True, **options)(series)
        x = layer(8, unroll=True, **options)(x)
        return keras.Model(series, layers.Dense(3)(x))

    return build


def _bidirectional() -> keras.Model:
    series = keras.Input((8, 6))
    x = layers.Bidirectional(layers.LSTM(8, unroll=True))(series)
    return keras.Model(series, layers.Dense(3)(x))


def _sequence_to_sequence() -> keras.Model:
    series = keras.Input((8, 6))
    x = layers.RepeatVector(4)(layers.GRU(8, unroll=True)(series))
    x = layers.GRU(8, unroll=True, return_sequences=True)(x)
    return keras.Model(series, layers.TimeDistributed(layers.Dense(2))(x))


def _crnn() -> keras.Model:
    line = keras.Input((32, 64, 1))
    x = layers.MaxPooling2D(4)(layers.Conv2D(8, 3, padding="same", activation="relu")(line))
    x = layers.Reshape((16, 64))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.LSTM(8, unroll=True, return_sequences=True))(x)
    return keras.Model(line, layers.Dense(11)(x))


def _anomaly() -> keras.Model:
    table = keras.Input((40,))
    x = layers.Dense(16, activation="elu")(layers.BatchNormalization()(table))
    x = layers.Dense(40)(layers.Dense(4, activation="elu")(x))
    return keras.Model(table, ops.mean(ops.square(x - table), axis=-1, keepdims=True))


def _tabular() -> keras.Model:
    table = keras.Input((20,))
    x = layers.Normalization(mean=[1.0] * 20, variance=[4.0] * 20)(table)
    for _ in range(2):
        x = layers.Dense(32, activation="silu")(layers.LayerNormalization()(x))
    return keras.Model(table, layers.Dense(1)(x))


def _recommender() -> keras.Model:
    user, item = keras.Input((16,)), keras.Input((16,))
    left = layers.UnitNormalization()(layers.Dense(8)(layers.Dense(16, activation="relu")(user)))
    right = layers.UnitNormalization()(layers.Dense(8)(layers.Dense(16, activation="relu")(item)))
    return keras.Model([user, item], layers.Dot(1)([left, right]))


def _embeddings() -> keras.Model:
    words = keras.Input((10,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 16)(words))
    return keras.Model(words, layers.Dense(4, activation="softmax")(x))


def _attention_pooling() -> keras.Model:
    series = keras.Input((12, 8))
    x = layers.Dense(16, activation="tanh")(series)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    return keras.Model(series, layers.Dense(3)(ops.sum(x * weights, axis=1)))


def _rms_blocks() -> keras.Model:
    series = x = keras.Input((16, 32))
    for _ in range(2):
        y = layers.RMSNormalization()(x)
        x = x + layers.Dense(32)(layers.Dense(64, activation="silu")(y) * layers.Dense(64)(y))
    return keras.Model(series, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def _matched_filter() -> keras.Model:
    series = keras.Input((16, 8))
    basis = ops.convert_to_tensor([[float(i * j % 5) - 2 for j in range(6)] for i in range(8)])
    return keras.Model(series, layers.Dense(2)(layers.Flatten()(ops.matmul(series, basis))))


def _spectral() -> keras.Model:
    frames = keras.Input((32, 16))
    power = ops.square(layers.Dense(16)(frames)) + ops.square(layers.Dense(16)(frames))
    x = layers.Conv1D(8, 3, activation="relu")(ops.sqrt(power + 1e-3))
    return keras.Model(frames, layers.Dense(4)(layers.GlobalMaxPooling1D()(x)))


def _loop() -> keras.Model:
    series = keras.Input((8, 6))
    return keras.Model(series, layers.LSTM(8)(series))


def _random_inside() -> keras.Model:
    code = keras.Input((8,))
    noise = keras.random.normal((1, 8), seed=keras.random.SeedGenerator(0))
    return keras.Model(code, layers.Dense(4)(code + noise))


SERIES: dict[str, Builder] = {
    "keyword spotting": _keyword,
    "TCN": _tcn,
    "WaveNet": _wavenet,
    "LSTM, unrolled": _recurrent(layers.LSTM),
    "GRU, unrolled": _recurrent(layers.GRU),
    "SimpleRNN, unrolled": _recurrent(layers.SimpleRNN),
    "LSTM in both directions": _bidirectional,
    "sequence to sequence": _sequence_to_sequence,
    "text line": _crnn,
    "anomaly of tables": _anomaly,
    "tabular": _tabular,
    "recommender, two towers": _recommender,
    "word embeddings": _embeddings,
    "attention pooling": _attention_pooling,
    "RMS norm and gated SiLU": _rms_blocks,
    "product with a constant": _matched_filter,
    "spectral": _spectral,
}
"""Name -> builder."""

WITHOUT_A_PLACE: dict[str, Builder] = {
    "LSTM with a loop": _loop,
    "random numbers inside": _random_inside,
}
"""Those that have no place on an Edge TPU and are to be refused with the right words."""
