"""Keras callbacks around respect_tf, for the `fit` of Keras 3 and of tf_keras alike.

One class serves both packages, also in one process: `fit` calls a callback's methods and asks for
nothing else. Importing this package is cheap; TensorFlow is loaded by whoever trains.

What a callback adds to `logs` is seen by the progress bar, by `History` and by the callbacks that
come after it in the list: put `ExportSegments`, `EarlyStopping`, `ModelCheckpoint`, `CSVLogger` and
`TensorBoard` behind those whose metrics they read. `EarlyStopping` and `ModelCheckpoint` of Keras 3
need `mode=` for metrics that Keras does not know.

The examples in the docstrings go on from these lines, with `keras` or `tf_keras`:

>>> import keras, numpy as np, respect_tf
>>> from keras_callbacks import ExportSegments, QuantizationGap, StageBalance
>>> x, y = np.random.rand(32, 8, 8, 3).astype("float32"), np.random.randint(4, size=32)
>>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
...           keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")]
>>> model = keras.Sequential(layers, name="digits")
>>> model.compile("sgd", "sparse_categorical_crossentropy")

That of `OptimalityGap` takes `labels`, some of `respect_tf.training.load_labels`, and `network`,
the model that `respect_tf.training` trains.
"""

from keras_callbacks._export_segments import ExportSegments
from keras_callbacks._optimality_gap import OptimalityGap
from keras_callbacks._quantization_gap import QuantizationGap
from keras_callbacks._stage_balance import StageBalance

__all__ = [
    "ExportSegments",
    "OptimalityGap",
    "QuantizationGap",
    "StageBalance",
]
