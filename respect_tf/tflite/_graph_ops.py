"""TensorFlow ops that only compute: those that a model file may name.

TensorFlow sorts its ops by the source file that registers them, and `tf.raw_ops` shows which that
is. Files of mathematics are let through, files of reading, writing, calling Python and talking to
other machines are not, nor is an op that none of them has.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

# Of `tensorflow.python.ops.gen_NAME_ops` and the like. Whole files:
_COMPUTING = frozenset(
    {
        *("array", "audio", "bitwise", "composite_tensor", "count", "ctc", "cudnn_rnn", "image"),
        *("linalg", "list", "manip", "map", "math", "nn", "ragged_array", "ragged_conversion"),
        *("ragged_math", "random", "random_index_shuffle", "resource_variable", "rnn", "set"),
        *("sparse", "sparse_csr_matrix", "special_math", "spectral", "state", "stateful_random"),
        *("stateless_random", "string", "training", "uniform_quant"),
    }
)
_COMPUTING_MODULES = frozenset(
    {f"gen_{name}_ops" for name in _COMPUTING} | {"gen_stateless_random_ops_v2"}
)
# Single ops of files that hold others too: Abort ends the process, RemoteCall runs elsewhere,
# RecordInput and InitializeTableFromTextFile read, Print and the summaries write.
_COMPUTING_OPS = frozenset(
    {
        *("ControlTrigger", "Enter", "Exit", "LoopCond", "Merge", "NextIteration", "NoOp"),
        *("RefEnter", "RefExit", "RefMerge", "RefNextIteration", "RefSelect", "RefSwitch"),
        *("Switch", "Case", "DeviceIndex", "FakeParam", "For", "If", "PartitionedCall"),
        *("StatefulPartitionedCall", "StatelessCase", "StatelessIf", "StatelessWhile"),
        *("SymbolicGradient", "ToBool", "While", "Assert", "DynamicPartition", "DynamicStitch"),
        *("ParallelDynamicStitch", "AnonymousHashTable", "AnonymousMutableDenseHashTable"),
        *("AnonymousMutableHashTable", "AnonymousMutableHashTableOfTensors", "HashTable"),
        *("HashTableV2", "InitializeTable", "InitializeTableV2", "LookupTableExport"),
        *("LookupTableExportV2", "LookupTableFind", "LookupTableFindV2", "LookupTableImport"),
        *("LookupTableImportV2", "LookupTableInsert", "LookupTableInsertV2"),
        *("LookupTableRemoveV2", "LookupTableSize", "LookupTableSizeV2", "MutableDenseHashTable"),
        *("MutableDenseHashTableV2", "MutableHashTable", "MutableHashTableOfTensors"),
        *("MutableHashTableOfTensorsV2", "MutableHashTableV2", "DecodePaddedRaw", "DecodeRaw"),
        "StringToNumber",
    }
)
_COMPUTING_PREFIXES = ("TensorArray", "Stack")  # of the data flow ops
# What savers consist of besides.
SAVER_OPS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})
_SCREENS = (b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")

# Modules of TensorFlow's API that hold nothing but computation, as `TFOpLambda` names them.
_COMPUTING_APIS = frozenset(
    {
        *("__operators__", "bitwise", "image", "keras.activations", "linalg", "math", "nn"),
        *("quantization", "signal", "strings"),
    }
)
_COMPUTING_SYMBOLS = frozenset(
    {
        *("abs", "acos", "acosh", "add", "add_n", "argmax", "argmin", "argsort", "asin", "asinh"),
        *("atan", "atan2", "atanh", "batch_to_space", "bitcast", "boolean_mask"),
        *("broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "cast"),
        *("clip_by_global_norm", "clip_by_norm", "clip_by_value", "complex", "concat", "constant"),
        *("convert_to_tensor", "cos", "cosh", "cumsum", "divide", "dynamic_partition"),
        *("dynamic_stitch", "eig", "eigvals", "einsum", "ensure_shape", "equal", "exp"),
        *("expand_dims", "extract_volume_patches", "eye", "fill", "floor", "gather", "gather_nd"),
        *("greater", "greater_equal", "identity", "identity_n", "less", "less_equal", "linspace"),
        *("logical_and", "logical_not", "logical_or", "matmul", "maximum", "meshgrid", "minimum"),
        *("multiply", "negative", "norm", "not_equal", "one_hot", "ones", "ones_like", "pad"),
        *("parallel_stack", "pow", "range", "rank", "realdiv", "reduce_all", "reduce_any"),
        *("reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod"),
        *("reduce_sum", "repeat", "reshape", "reverse", "reverse_sequence", "roll", "round"),
        *("saturate_cast", "scalar_mul", "scatter_nd", "searchsorted", "sequence_mask", "shape"),
        *("shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice", "sort", "space_to_batch"),
        *("space_to_batch_nd", "split", "sqrt", "square", "squeeze", "stack", "stop_gradient"),
        *("strided_slice", "subtract", "tan", "tanh", "tensor_scatter_nd_add"),
        *("tensor_scatter_nd_max", "tensor_scatter_nd_min", "tensor_scatter_nd_sub"),
        *("tensor_scatter_nd_update", "tensordot", "tile", "transpose", "truediv", "truncatediv"),
        *("truncatemod", "unique", "unique_with_counts", "unravel_index", "unstack", "where"),
        *("zeros", "zeros_like", "random.normal", "random.uniform", "random.truncated_normal"),
        *("debugging.check_numerics", "compat.v1.placeholder_with_default", "to_float", "to_int32"),
        *("space_to_depth", "depth_to_space", "div", "div_no_nan", "floor_div", "log", "log1p"),
    }
)
# `tf_keras.backend` also holds the session and the process's settings.
_COMPUTING_BACKEND = frozenset(
    {
        *("abs", "all", "any", "arange", "argmax", "argmin", "batch_dot", "batch_flatten"),
        *("batch_normalization", "bias_add", "cast", "clip", "concatenate", "constant", "conv1d"),
        *("conv2d", "conv2d_transpose", "conv3d", "cos", "cumprod", "cumsum", "depthwise_conv2d"),
        *("dot", "dropout", "elu", "equal", "exp", "expand_dims", "eye", "flatten", "gather"),
        *("greater", "greater_equal", "hard_sigmoid", "in_top_k", "l2_normalize", "less"),
        *("less_equal", "log", "max", "maximum", "mean", "min", "minimum", "not_equal", "one_hot"),
        *("ones", "ones_like", "permute_dimensions", "pool2d", "pool3d", "pow", "prod"),
        *("random_normal", "random_uniform", "relu", "repeat", "repeat_elements", "reshape"),
        *("resize_images", "resize_volumes", "reverse", "round", "separable_conv2d", "shape"),
        *("sigmoid", "sign", "sin", "softmax", "softplus", "softsign", "spatial_2d_padding"),
        *("spatial_3d_padding", "sqrt", "square", "squeeze", "stack", "std", "stop_gradient"),
        *("sum", "tanh", "temporal_padding", "tile", "transpose", "truncated_normal", "var"),
        *("variable_shape", "zeros", "zeros_like"),
    }
)


@functools.cache
def computes(op_type: str) -> bool:
    """Whether an op of that type does nothing but compute."""
    import tensorflow as tf

    if op_type in _COMPUTING_OPS or op_type.startswith(_COMPUTING_PREFIXES):
        return hasattr(tf.raw_ops, op_type)
    function = getattr(tf.raw_ops, op_type, None) if op_type.isidentifier() else None
    module = getattr(inspect.unwrap(function), "__module__", "") if callable(function) else ""
    return module.rpartition(".")[2] in _COMPUTING_MODULES


def node_computes(node: Any) -> bool:
    """The same for a node of a graph, whose attributes decide where Print prints to."""
    if node.op == "PrintV2":
        stream = node.attr["output_stream"].s if "output_stream" in node.attr else b"stderr"
        return stream in _SCREENS
    return computes(node.op)


def symbol_computes(symbol: str) -> bool:
    """Whether a name of TensorFlow's API, as `TFOpLambda` has it, stands for computation.

    >>> symbol_computes("math.multiply"), symbol_computes("io.write_file")
    (True, False)
    """
    symbol = symbol.removeprefix("tf.")
    plain = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.")
    module, _, name = plain.rpartition(".")
    if not name.isidentifier() or name.startswith("_"):
        return False
    if module == "keras.backend":
        return name in _COMPUTING_BACKEND
    if module == "raw_ops":
        return computes(name)
    return module in _COMPUTING_APIS or plain in _COMPUTING_SYMBOLS
