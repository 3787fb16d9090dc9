"""Whether rewriting leaves the models of the paper as they are, byte for byte.

They map as TensorFlow's converter writes them, so there is nothing to rewrite in them. What is
compared is the float model that is quantised: the quantiser makes the same of the same. Ops and
layers do not depend on the size of the pictures or on weights: small ones do.
"""

from __future__ import annotations

import sys
from typing import Any

SIZE = 96


def same_bytes(name: str) -> bool:
    """Whether the float model of an application has the same bytes after all rewriting."""
    import keras

    from respect_tf.tflite import float_tflite, rewrite

    model: Any = getattr(keras.applications, name)(weights=None, input_shape=(SIZE, SIZE, 3))
    content = float_tflite(model, verbose=0).content
    return rewrite(content, "all").content == content


if __name__ == "__main__":
    sys.exit(0 if same_bytes(sys.argv[1]) else 1)
