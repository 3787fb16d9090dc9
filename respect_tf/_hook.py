"""Pipelines from code that was written for `tf.lite.TFLiteConverter`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from respect_tf._convert import ConvertOptions, convert
from respect_tf._errors import CalibrationDataError
from respect_tf._folder_target import check_writable_target
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity
from respect_tf.tflite import check_saved_model

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Arguments of `convert` that a converter has no use for: its own attributes say the same, or it
# has loaded its file already.
_OF_CONVERTERS = (
    *("model", "representative_dataset", "inference_input_type", "inference_output_type"),
    *("custom_objects", "trusted"),
)
_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(convert).parameters.items()
    if name not in _OF_CONVERTERS
}
OPTIONS = tuple(_DEFAULTS)
"""Those of `convert` that go with a converter, `num_segments` and `verbose` among them."""


class TFLiteConverter:
    """`tf.lite.TFLiteConverter` whose `convert()` gives a `Pipeline`.

    Every attribute of TensorFlow's converter can be read and set here; it starts with settings for
    full-integer int8. The options of `respect_tf.convert` are attributes too: `num_segments`,
    `scheduler`, `objective` and so on.

    >>> converter = respect_tf.TFLiteConverter.from_saved_model("model")
    >>> converter.representative_dataset = samples
    >>> converter.num_segments = 4
    >>> pipeline = converter.convert()
    """

    def __init__(self, converter: Any) -> None:
        """Wrap a converter of TensorFlow; mostly, one of the class methods is called instead."""
        import tensorflow as tf

        object.__setattr__(self, "_converter", converter)
        object.__setattr__(self, "_options", {})
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        # The Edge TPU compiler dates from when dense weights had one scale per tensor.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True

    @classmethod
    def from_keras_model(cls, model: Any) -> TFLiteConverter:
        """A converter of a Keras model."""
        import tensorflow as tf

        return cls(tf.lite.TFLiteConverter.from_keras_model(model))

    @classmethod
    def from_saved_model(
        cls,
        saved_model_dir: str,
        signature_keys: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        *,
        trusted: bool = False,
    ) -> TFLiteConverter:
        """A converter of a SavedModel folder.

        Args:
            saved_model_dir: The folder.
            signature_keys: See TensorFlow.
            tags: See TensorFlow.
            trusted: See `respect_tf.convert`.

        Raises:
            InvalidModelError: The SavedModel is damaged.
            UnsupportedModelError: Its graphs do more than compute, and it is not trusted.
        """
        import tensorflow as tf

        if not trusted:
            check_saved_model(saved_model_dir)
        made = tf.lite.TFLiteConverter.from_saved_model(saved_model_dir, signature_keys, tags)
        return cls(made)

    @classmethod
    def from_concrete_functions(
        cls, funcs: Sequence[Any], trackable_obj: Any = None
    ) -> TFLiteConverter:
        """A converter of a concrete function."""
        import tensorflow as tf

        return cls(tf.lite.TFLiteConverter.from_concrete_functions(list(funcs), trackable_obj))

    def __getattr__(self, name: str) -> Any:
        options: dict[str, Any] = object.__getattribute__(self, "_options")
        if name in OPTIONS:
            return options.get(name, _DEFAULTS[name])
        return getattr(object.__getattribute__(self, "_converter"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OPTIONS:
            self._options[name] = value
        elif hasattr(self._converter, name):
            setattr(self._converter, name, value)
        else:
            raise AttributeError(
                f"A converter has no attribute {name!r}. Expected one of TensorFlow's, or one of "
                f"{', '.join(OPTIONS)}."
            )

    def convert(self) -> Pipeline:
        """Convert, cut and prove.

        Raises:
            RespectError: As for `respect_tf.convert`.
        """
        if self._converter.representative_dataset is None:
            raise CalibrationDataError(
                "The converter has no representative_dataset, which int8 needs. Set it to a "
                "function that yields lists of inputs."
            )
        return convert(self._converter, **self._options)


def export(
    model: Any,
    folder: str | os.PathLike[str],
    num_segments: int | Literal["auto"] | None = "auto",
    representative_dataset: Any = None,
    *,
    overwrite: bool = False,
    verbose: Verbosity = "auto",
    **options: Unpack[ConvertOptions],
) -> Pipeline:
    """Convert a model and save its pipeline, as `keras.Model.export` saves a model.

    Args:
        model: See `respect_tf.convert`.
        folder: The folder to make.
        num_segments: Segments of the pipeline, as for `respect_tf.convert`.
        representative_dataset: Samples to calibrate with.
        overwrite: Whether a pipeline that is saved there may be replaced.
        verbose: 0 is silence.
        **options: As for `respect_tf.convert`.

    Returns:
        The pipeline.

    Raises:
        RespectError: As for `respect_tf.convert` and `Pipeline.save`.
    """
    check_writable_target(folder, overwrite=overwrite)  # before the long part
    pipeline = convert(model, num_segments, representative_dataset, verbose=verbose, **options)
    pipeline.save(folder, overwrite=overwrite, verbose=verbose)
    return pipeline
