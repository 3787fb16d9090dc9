"""Advice in the words of whoever asked: options of the command line, attributes of a converter.

Messages name arguments as Python has them, `overwrite=True`. A user of the command line, or of a
script that sets up TensorFlow's converter, has never written that.
"""

from __future__ import annotations

import re

# A value as messages write it: a string, a tuple, a word or number.
_VALUE = r"""(?:"(?P<s>[^"]*)"|'(?P<q>[^']*)'|\((?P<t>[\d, ]+)\)|(?P<w>\w+(?:\.\w+)*))"""

_OPTIONS = {
    "num_segments": "--num-segments",
    "num_devices": "--num-devices",
    "rewrite": "--rewrite",
    "device": "--device",
    "objective": "--objective",
    "scheduler": "--scheduler",
    "time_limit": "--time-limit",
    "input_shape": "--input-shape",
    "inference_input_type": "--input-type",
    "inference_output_type": "--output-type",
    "timeout": "--timeout",
    "replicas": "--replicas",
    "backend": "--backend",
    "seed": "--seed",
}
_FLAGS = {
    "overwrite=True": "--overwrite",
    "trusted=True": "--trusted",
    "strict=False": "--no-strict",
    "with strict=True": "without --no-strict",
    "verify=False": "--no-verify",
    "compile=True": "--compile yes",
    "compile=False": "--compile no",
}
# An example in Python, for one input with its shape as a comment, or for several.
_EXAMPLE = re.compile(
    r"\n    representative_dataset=(?:\{(?P<several>.*?)\n    \}|[^\n#]*?)"
    r"(?P<shape>  #[^\n]*)?(?=\n|$)",
    re.DOTALL,
)
_OF_INPUT = re.compile(r'"([^\n]*)": \.\.\.,  # ([^\n]*)')
_ASSIGNED = re.compile(rf"\b({'|'.join(_OPTIONS)})={_VALUE}")
_FLAGGED = re.compile("|".join(rf"\b{re.escape(flag)}(?:\s\(--[\w-]+\))?" for flag in _FLAGS))

_TYPES = re.compile(r"\b(inference_(?:in|out)put_type)=['\"](\w+)['\"]")
_ATTRIBUTES = re.compile(r"(?<![\w.])(representative_dataset|inference_(?:in|out)put_type)\b(?!=)")


def command_words(message: str) -> str:
    """The same message, with options of the command line in place of Python's arguments."""
    message = _EXAMPLE.sub(_example, message)
    message = _FLAGGED.sub(lambda found: _FLAGS[found[0].partition(" (")[0]], message)
    message = _ASSIGNED.sub(lambda found: f"{_OPTIONS[found[1]]} {_plain(found)}", message)
    return re.sub(r"\brepresentative_dataset\b", "--representative-data", message)


def converter_words(message: str) -> str:
    """The same message, as the lines that a script with TensorFlow's converter has to change."""
    message = _TYPES.sub(r"converter.\1 = tf.\2", message)
    message = re.sub(
        r"\n    representative_dataset=", "\n    converter.representative_dataset = ", message
    )
    message = _ATTRIBUTES.sub(r"converter.\1", message)
    options = "|".join({*_OPTIONS} - {"inference_input_type", "inference_output_type"})
    flags = "|".join(map(re.escape, _FLAGS))
    return re.sub(
        rf"(?<![\w(])((?:{options})={_VALUE}|{flags})", r"respect_tf.intercept(\1)", message
    )


def _plain(found: re.Match[str]) -> str:
    texts = found["s"], found["q"], found["t"], found["w"]
    value = next(text for text in texts if text is not None)
    return value.replace(" ", "").rstrip(",") if found["t"] is not None else value


def _example(found: re.Match[str]) -> str:
    if found["several"] is None:
        return f"\n    --representative-data samples.npy{found['shape'] or ''}"
    arrays = ", ".join(f"{name} {shape}" for name, shape in _OF_INPUT.findall(found["several"]))
    return f"\n    --representative-data samples.npz  # with the arrays {arrays}"
