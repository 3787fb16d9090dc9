"""Editing a float model between TFLite's converter and its quantiser.

The converter makes a float .tflite file first, then calibrates and quantises that. All versions
from 2.16 to 2.21 do the second in the method `_quantize`, for every class of converter. What is
edited in between is quantised as if TensorFlow had made it; where nothing is edited, the bytes are
those that TensorFlow makes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from respect_tf._errors import RespectError
from respect_tf.tflite._flatbuffer import read_model
from respect_tf.tflite._interpreter import mark_made_here
from respect_tf.tflite._static_batch import fix_batch
from respect_tf.tflite.rewrites import RewriteMode, rewrite


@contextlib.contextmanager
def edited_before_quantizing(
    converter: Any, edit: Callable[[bytes], bytes], refused: Callable[[Exception], None]
) -> Iterator[None]:
    """Let a converter quantise what `edit` makes of its float model, inside the block.

    Args:
        converter: Any of TensorFlow's converters. One of an unknown version, or one that does not
            quantise with representative data, converts as ever.
        edit: Takes the float .tflite file, returns the one to quantise.
        refused: Is told, where TFLite cannot quantise what `edit` made; the file that the
            converter made is quantised instead.
    """
    quantize = getattr(converter, "_quantize", None)
    if quantize is None:
        yield
        return

    def edited(content: bytes, *args: Any, **kwargs: Any) -> Any:
        content = bytes(content)
        changed = edit(content)
        if changed is not content:
            try:
                return quantize(changed, *args, **kwargs)
            except (RuntimeError, ValueError) as error:
                refused(error)
        return quantize(content, *args, **kwargs)

    converter._quantize = edited
    try:
        yield
    finally:
        del converter._quantize


@contextlib.contextmanager
def rewritten_if_quantised(converter: Any, mode: RewriteMode) -> Iterator[list[bool]]:
    """Find out whether a converter's float model would be rewritten; nothing of it is changed.

    Args:
        converter: Any of TensorFlow's converters.
        mode: Which forms count.

    Yields:
        A list that holds `True` after such a conversion.
    """
    found: list[bool] = []

    def look(content: bytes) -> bytes:
        mark_made_here(content)
        try:
            fixed = fix_batch(content, read_model(content))
        except RespectError:  # said where its pipeline is made
            return content
        if rewrite(fixed, mode).applied:
            found.append(True)
        return content

    with edited_before_quantizing(converter, look, lambda _: None):
        yield found
