"""A model in, an int8 .tflite model out; reading, writing and running .tflite files."""

from respect_tf.tflite._accuracy import (
    Accuracy,
    LayerError,
    OutputAccuracy,
    compare_layers,
    compare_outputs,
    float_outputs,
)
from respect_tf.tflite._budget import ReadingBudget
from respect_tf.tflite._calibration import calibration_samples, cast_sample
from respect_tf.tflite._conversion import float_tflite, to_int8
from respect_tf.tflite._flatbuffer import (
    ints,
    op_type,
    read_content,
    read_model,
    signature_names,
    text,
    write_model,
)
from respect_tf.tflite._float_model import FloatTFLite
from respect_tf.tflite._input_arrays import arrays_by_input, fitting_arrays
from respect_tf.tflite._int8_model import Int8Model
from respect_tf.tflite._interpreter import Interpreter, is_made_here, mark_made_here
from respect_tf.tflite._model_inputs import InputShape
from respect_tf.tflite._precision import NonInt8Tensor, check_int8, layer_of
from respect_tf.tflite._preview import int8_preview
from respect_tf.tflite._quantizer import rewritten_if_quantised
from respect_tf.tflite._saved_model import check_saved_model
from respect_tf.tflite._schema import (
    EDGE_TPU_OP,
    dtype_bits,
    op_type_names,
    schema,
    tensor_type_names,
)
from respect_tf.tflite._silence import silenced
from respect_tf.tflite._source import FloatModel, TFLiteContent, converter_name, open_source
from respect_tf.tflite._tables import FlatBufferTable
from respect_tf.tflite._trust import Trust
from respect_tf.tflite._worker_model import call_in_worker
from respect_tf.tflite.rewrites import RewriteMode, Rewritten, describe_rewritten, rewrite

__all__ = [
    "EDGE_TPU_OP",
    "Accuracy",
    "FlatBufferTable",
    "FloatModel",
    "FloatTFLite",
    "InputShape",
    "Int8Model",
    "Interpreter",
    "LayerError",
    "NonInt8Tensor",
    "OutputAccuracy",
    "ReadingBudget",
    "RewriteMode",
    "Rewritten",
    "TFLiteContent",
    "Trust",
    "arrays_by_input",
    "calibration_samples",
    "call_in_worker",
    "cast_sample",
    "check_int8",
    "check_saved_model",
    "compare_layers",
    "compare_outputs",
    "converter_name",
    "describe_rewritten",
    "dtype_bits",
    "fitting_arrays",
    "float_outputs",
    "float_tflite",
    "int8_preview",
    "ints",
    "is_made_here",
    "layer_of",
    "mark_made_here",
    "op_type",
    "op_type_names",
    "open_source",
    "read_content",
    "read_model",
    "rewrite",
    "rewritten_if_quantised",
    "schema",
    "signature_names",
    "silenced",
    "tensor_type_names",
    "text",
    "to_int8",
    "write_model",
]
