"""Whether the models of the paper have the bytes that they have without rewriting.

They map as TensorFlow's converter writes them, so there is nothing to rewrite in them. Ops and
layers do not depend on the size of the pictures or on weights: small ones do.
"""

from __future__ import annotations

import sys
from typing import Any

SIZE = 96
_NUM_SAMPLES = 2


def same_bytes(name: str) -> bool:
    """Whether an application converts to the same int8 file with all rewriting and with none."""
    import keras
    import numpy as np

    from respect_tf.tflite import to_int8

    keras.utils.set_random_seed(0)
    model: Any = getattr(keras.applications, name)(weights=None, input_shape=(SIZE, SIZE, 3))
    samples = np.random.default_rng(0).normal(size=(_NUM_SAMPLES, SIZE, SIZE, 3))
    modes = [to_int8(model, samples, rewrite=mode, verbose=0) for mode in ("off", "all")]
    return modes[0].content == modes[1].content and not modes[1].rewritten


if __name__ == "__main__":
    sys.exit(0 if same_bytes(sys.argv[1]) else 1)
