"""A model in, an int8 .tflite model out, by TFLite's own converter.

The model is traced with a batch of 1 and converted as a frozen function. Of TFLite's ways this one
fixes every shape, keeps inputs and outputs in the order they were given in, gives the same bytes
in every process, and takes half the time of `from_keras_model`, which saves a SavedModel first.
What it loses are the names of inputs and outputs; they are written into the file afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import (
    ArgumentError,
    ConversionError,
    UnsupportedModelError,
)
from respect_tf._reporting import Verbosity, counted, progress, tell
from respect_tf.tflite._calibration import calibration_samples, cast_sample, is_dataset
from respect_tf.tflite._conversion_checks import io_type, refuse_data, refuse_other_types
from respect_tf.tflite._converter_calls import explained, quantized, write_names
from respect_tf.tflite._flatbuffer import read_model, text, write_model
from respect_tf.tflite._float_model import FloatTFLite, int8_converter
from respect_tf.tflite._float_model import float_tflite as _float_tflite
from respect_tf.tflite._input_arrays import Sample
from respect_tf.tflite._int8_model import Int8Model
from respect_tf.tflite._interpreter import is_made_here, mark_made_here
from respect_tf.tflite._memory import give_freed_memory_back
from respect_tf.tflite._model_inputs import InputShape
from respect_tf.tflite._precision import (
    check_int8,
    non_int8_tensors,
    quantization_kind,
)
from respect_tf.tflite._quantizer import edited_before_quantizing
from respect_tf.tflite._rewriter import Rewriter
from respect_tf.tflite._schema import EDGE_TPU_OP
from respect_tf.tflite._silence import Chatter, silenced
from respect_tf.tflite._source import (
    ConfiguredConverter,
    FloatModel,
    Source,
    SourceKind,
    TFLiteContent,
    keras_kind,
    open_source,
)
from respect_tf.tflite._static_batch import fix_batch
from respect_tf.tflite._trace import trace
from respect_tf.tflite._trust import Trust
from respect_tf.tflite._wide_inputs import with_float_inputs
from respect_tf.tflite.rewrites import REWRITE_MODES, RewriteMode

_KEPT_SAMPLES = 8

CheckInterface = Callable[[Mapping[str, tuple[int, ...]], Mapping[str, tuple[int, ...]]], object]
"""Takes the shapes of a model's inputs and those of its outputs, by name."""


def to_int8(
    model: Any,
    representative_dataset: Any = None,
    *,
    inference_input_type: str = "int8",
    inference_output_type: str = "int8",
    rewrite: RewriteMode = "safe",
    strict: bool | None = True,
    input_shape: InputShape | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    check_interface: CheckInterface | None = None,
    verbose: Verbosity = "auto",
) -> Int8Model:
    """Convert a model to full-integer int8, batch 1.

    Args:
        model: A Keras 3 or tf_keras model, the path of a SavedModel folder or a .keras, .h5 or
            .tflite file, the bytes of a .tflite file, or a configured `tf.lite.TFLiteConverter`.
            The last two bring their own settings, which stand.
        representative_dataset: Needed for float models, refused for the last two; see
            `calibration_samples`.
        inference_input_type: `"int8"`, `"uint8"` or `"float32"`.
        inference_output_type: The same for the outputs.
        rewrite: What becomes of ops that an Edge TPU does not run: `"safe"` for equal forms that
            it runs, `"all"` for approximations too, `"off"` to leave them.
        strict: Whether tensors that are not 8 bit are an error; else they are only reported. None
            leaves both to whoever looks at `Int8Model.wide`.
        input_shape: Sizes for inputs that leave some open, without the batch: one shape, or a dict
            of them by input name.
        custom_objects: Classes and functions by name that a Keras file needs besides Keras's own.
        trusted: Whether a model file may run code of its own.
        check_interface: Called with the shapes of a float model's inputs and outputs by name, as
            soon as they are known and before the model is quantised. What it raises is passed on.
        verbose: `0` silent, `1` or `"auto"` progress and warnings, `2` TensorFlow's output too.

    Raises:
        ArgumentError: An argument has the wrong type or value, or there is no such file.
        CalibrationDataError: The representative data is missing or does not fit the model.
        ConversionError: TensorFlow cannot convert the model.
        InvalidModelError: A file is damaged.
        QuantizationError: Tensors are not 8 bit, and `strict` is set.
        UnsupportedModelError: Unknown dimensions, loops, tensors that TFLite cannot take, or a
            file that may run code of its own and is not trusted.
    """
    input_type = io_type(inference_input_type, "inference_input_type")
    output_type = io_type(inference_output_type, "inference_output_type")
    if rewrite not in REWRITE_MODES:
        raise ArgumentError(f"rewrite must be one of {REWRITE_MODES}. Received: {rewrite!r}.")
    trust = Trust.of(custom_objects, trusted)
    with progress("Loading the model", verbose=verbose), silenced(verbose=verbose):
        source = open_source(model, trust, input_shape=input_shape)
    if input_shape is not None and not isinstance(source, FloatModel):
        raise ArgumentError(
            f"'{source.name}' has shapes of its own. Expected input_shape=None: it is for Keras "
            "models and SavedModels that leave sizes open."
        )
    with contextlib.closing(Rewriter(rewrite, verbose)) as rewriter:
        result = _converted(
            source,
            representative_dataset,
            (input_type, output_type),
            rewriter,
            strict=strict,
            check_interface=check_interface,
            verbose=verbose,
        )
        with progress("Comparing int8 with float", verbose=verbose), silenced(verbose=verbose):
            accuracy = rewriter.compare(result.unpacked, result.content, result.output_names)
    warning = None if accuracy is None else accuracy.warning()
    remarks = (*rewriter.remarks, *([] if warning is None else [warning]))
    return dataclasses.replace(result, accuracy=accuracy, remarks=remarks, offers=rewriter.remarks)


def _converted(
    source: Source,
    representative_dataset: Any,
    io_types: tuple[str, str],
    rewriter: Rewriter,
    *,
    strict: bool | None,
    check_interface: CheckInterface | None,
    verbose: Verbosity,
) -> Int8Model:
    """The int8 model of whatever was given, checked."""
    label = f"'{source.name}'"
    progress_label = f"Converting {source.name} to int8"
    if isinstance(source, FloatModel):
        # A user's generator may print; a dataset's chatter is TensorFlow's.
        with silenced(verbose=verbose) if is_dataset(representative_dataset) else nullcontext():
            samples = calibration_samples(representative_dataset, source.inputs, verbose=verbose)
        with silenced(verbose=verbose) as chatter, progress(progress_label, verbose=verbose):
            result = _convert_float(source, samples, io_types, chatter, check_interface, rewriter)
        float_io = (io_types[0] == "float32", io_types[1] == "float32")
    else:
        refuse_data(source, representative_dataset)
        result = _as_given(
            source, *_given_content(source, progress_label, verbose, rewriter), rewriter
        )
        refuse_other_types(result.unpacked, label, *io_types)
        float_io = (True, True)
    tensors = non_int8_tensors(
        result.unpacked,
        float_input=float_io[0],
        float_output=float_io[1],
        layer_names=result.layer_names,
    )
    if any(tensor.op_type == EDGE_TPU_OP for tensor in tensors):
        tensors = ()  # compiled already, as whoever reads its ops will say
    kind = quantization_kind(result.unpacked) if isinstance(source, TFLiteContent) else None
    if strict is not None:
        check_int8(tensors, label=label, strict=strict, kind=kind, verbose=verbose)
    return dataclasses.replace(result, wide=tensors, kind=kind)


def _convert_float(
    source: FloatModel,
    samples: Sequence[Sample],
    io_types: tuple[str, str],
    chatter: Chatter,
    check_interface: CheckInterface | None,
    rewriter: Rewriter,
) -> Int8Model:
    """Trace, convert, and write the names into the file."""
    import tensorflow as tf

    def representative_dataset() -> Any:
        give_freed_memory_back()  # of the way to a float model: quantising takes as much again
        for sample in counted("calibrating", samples, len(samples), unit="samples"):
            yield list(cast_sample(sample, source.inputs).values())
        tell("quantising")

    started = time.perf_counter()
    tell("tracing")
    function, output_names = trace(source)
    with_floats = source if rewriter.mode == "off" else with_float_inputs(source, function)
    if with_floats is not source:
        source = with_floats
        function, output_names = trace(source)
    shapes = [tensor.shape for tensor in function.graph.structured_outputs]
    if check_interface is not None and all(shape.is_fully_defined() for shape in shapes):
        check_interface(
            {spec.name: spec.shape for spec in source.inputs},
            dict(zip(output_names, map(tuple, shapes), strict=True)),
        )
    converter = int8_converter(function, representative_dataset)
    converter.inference_input_type = tf.dtypes.as_dtype(io_types[0])
    converter.inference_output_type = tf.dtypes.as_dtype(io_types[1])
    rewriter.use(source.name, source.layer_names, representative_dataset)
    tell("converting to TFLite")
    with edited_before_quantizing(converter, rewriter.edit, rewriter.refused):
        _, parsed = quantized(converter.convert, source.name, source.layer_names, chatter)
    give_freed_memory_back()
    seconds = time.perf_counter() - started
    write_names(parsed, source, output_names)
    content = write_model(parsed)
    mark_made_here(content)  # by TensorFlow, which has run it to calibrate it
    return Int8Model(
        content=content,
        name=source.name,
        source=source.kind,
        input_names=tuple(spec.name for spec in source.inputs),
        output_names=tuple(output_names),
        seconds=seconds,
        samples=tuple(cast_sample(sample, source.inputs) for sample in samples[:_KEPT_SAMPLES]),
        layer_names=source.layer_names,
        unpacked=parsed,
        rewritten=rewriter.applied,
    )


def float_tflite(
    model: Any,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    verbose: Verbosity = "auto",
) -> FloatTFLite:
    """The float .tflite model that `to_int8` makes of a model before it rewrites and quantises it.

    Raises:
        ArgumentError: A configured converter, or no model.
        ConversionError: TensorFlow cannot convert the model.
        UnsupportedModelError: A .tflite file that is quantised; and as for `to_int8`.
    """

    def explain(error: Exception, source: FloatModel, chatter: Chatter) -> ConversionError:
        return ConversionError(explained(error, source.name, source.layer_names, chatter))

    return _float_tflite(
        model, explain=explain, custom_objects=custom_objects, trusted=trusted, verbose=verbose
    )


def _given_content(
    source: TFLiteContent | ConfiguredConverter,
    label: str,
    verbose: Verbosity,
    rewriter: Rewriter,
) -> tuple[bytes, Any, float]:
    """A .tflite file, or what a configured converter makes: its bytes, unpacked, and seconds."""
    if isinstance(source, TFLiteContent):
        parsed = read_model(source.content)
        return *_fixed(source.content, parsed, only_if_computed=True), 0.0
    _refuse_keras_3_on_2_16(source)
    started = time.perf_counter()
    rewriter.use(source.name, (), source.converter.representative_dataset)
    with (
        silenced(verbose=verbose) as chatter,
        progress(label, verbose=verbose),
        edited_before_quantizing(source.converter, rewriter.edit, rewriter.refused),
    ):
        content, parsed = quantized(source.converter.convert, source.name, (), chatter)
        seconds = time.perf_counter() - started
        mark_made_here(content)
        return *_fixed(content, parsed), seconds


def _fixed(content: bytes, parsed: Any, *, only_if_computed: bool = False) -> tuple[bytes, Any]:
    """A model with a batch of 1, and unpacked; what was made of one that was made here, is, too."""
    changed = fix_batch(content, parsed, only_if_computed=only_if_computed)
    if changed is content:
        return content, parsed
    if is_made_here(content):
        mark_made_here(changed)
    return changed, read_model(changed)


def _refuse_keras_3_on_2_16(source: ConfiguredConverter) -> None:
    """TensorFlow 2.16's `from_keras_model` aborts the process on Keras 3 models."""
    import tensorflow as tf

    model = getattr(source.converter, "_keras_model", None)
    if keras_kind(model) == "keras" and tf.__version__.startswith("2.16."):
        raise UnsupportedModelError(
            f"The converter of TensorFlow {tf.__version__} crashes on Keras 3 models. Pass "
            f"'{source.name}' itself instead of a converter, or use TensorFlow 2.17 to 2.21."
        )


def _as_given(
    source: TFLiteContent | ConfiguredConverter,
    content: bytes,
    parsed: Any,
    seconds: float,
    rewriter: Rewriter,
) -> Int8Model:
    subgraph = parsed.subgraphs[0]
    known: dict[int, str] = {}
    for signature in parsed.signatureDefs or []:
        if signature.subgraphIndex == 0:
            for entry in [*(signature.outputs or []), *(signature.inputs or [])]:
                known.setdefault(int(entry.tensorIndex), text(entry.name))

    def names(indices: npt.NDArray[np.int32] | None) -> tuple[str, ...]:
        listed = [] if indices is None else [int(index) for index in indices]
        return tuple(known.get(index) or text(subgraph.tensors[index].name) for index in listed)

    kind: SourceKind = "tflite" if isinstance(source, TFLiteContent) else "converter"
    return Int8Model(
        content=content,
        name=source.name,
        source=kind,
        input_names=names(subgraph.inputs),
        output_names=names(subgraph.outputs),
        seconds=seconds,
        unpacked=parsed,
        rewritten=rewriter.applied,
    )
