"""What stops the compiler at the whole file: ops that its TensorFlow cannot read.

Compiler 16 reads a model with the ops of TensorFlow 2.5. A file that holds one op code, version,
custom op or tensor type above it is refused as a whole ("Didn't find op for builtin opcode ...",
"Op builtin_code out of range"), whatever else is in it: no other op is mapped. Such an op is not
one that stays on the CPU; its segment is never compiled.
"""

from __future__ import annotations

from respect_tf.graph import OpGraph

# Highest version of each op in TensorFlow 2.5 (tensorflow/lite/kernels/register.cc), and the op
# codes that it knows; those without a number have version 1 only.
_TABLE = """
ABS 3  ADD 3  ADD_N  ARG_MAX 2  ARG_MIN 2  AVERAGE_POOL_2D 3  BATCH_MATMUL 4  BATCH_TO_SPACE_ND 3
BIDIRECTIONAL_SEQUENCE_LSTM 3  BIDIRECTIONAL_SEQUENCE_RNN 3  BROADCAST_TO 3  CALL_ONCE  CAST  CEIL
COMPLEX_ABS  CONCATENATION 3  CONV_2D 5  CONV_3D  COS  CUMSUM  DENSIFY  DEPTHWISE_CONV_2D 6
DEPTH_TO_SPACE 2  DEQUANTIZE 4  DIV 2  ELU  EMBEDDING_LOOKUP 3  EMBEDDING_LOOKUP_SPARSE  EQUAL 3
EXP  EXPAND_DIMS  FAKE_QUANT 2  FILL 3  FLOOR  FLOOR_DIV 2  FLOOR_MOD  FULLY_CONNECTED 9  GATHER 5
GATHER_ND 3  GREATER 2  GREATER_EQUAL 2  HARD_SWISH  HASHTABLE  HASHTABLE_FIND  HASHTABLE_IMPORT
HASHTABLE_LOOKUP  HASHTABLE_SIZE  IF  IMAG  L2_NORMALIZATION 2  L2_POOL_2D  LEAKY_RELU 2  LESS 2
LESS_EQUAL 2  LOCAL_RESPONSE_NORMALIZATION  LOG  LOGICAL_AND  LOGICAL_NOT  LOGICAL_OR  LOGISTIC 3
LOG_SOFTMAX 2  LSH_PROJECTION  LSTM 4  MATRIX_DIAG  MATRIX_SET_DIAG  MAXIMUM 4  MAX_POOL_2D 3
MEAN 3  MINIMUM 4  MIRROR_PAD 2  MUL 4  NEG  NON_MAX_SUPPRESSION_V4  NON_MAX_SUPPRESSION_V5
NOT_EQUAL 3  ONE_HOT  PACK 3  PAD 3  PADV2 3  POW  PRELU  QUANTIZE 2  RANGE  RANK  REAL
REDUCE_ANY  REDUCE_MAX 3  REDUCE_MIN 3  REDUCE_PROD  RELU 3  RELU6 3  RELU_N1_TO_1  RESHAPE
RESIZE_BILINEAR 4  RESIZE_NEAREST_NEIGHBOR 4  REVERSE_SEQUENCE  REVERSE_V2 3  RFFT2D  RNN 3  ROUND
RSQRT 2  SCATTER_ND  SEGMENT_SUM  SELECT 2  SELECT_V2  SHAPE  SIN  SKIP_GRAM  SLICE 5  SOFTMAX 3
SPACE_TO_BATCH_ND 3  SPACE_TO_DEPTH 2  SPARSE_TO_DENSE 3  SPLIT 4  SPLIT_V 2  SQRT  SQUARE
SQUARED_DIFFERENCE 2  SQUEEZE 2  STRIDED_SLICE 5  SUB 5  SUM 2  SVDF 4  TANH 3  TILE 2  TOPK_V2 2
TRANSPOSE 5  TRANSPOSE_CONV 3  UNIDIRECTIONAL_SEQUENCE_LSTM 3  UNIDIRECTIONAL_SEQUENCE_RNN 3
UNIQUE  UNPACK 4  WHERE  WHILE  ZEROS_LIKE
"""
# Refused although the table has it: compiler 15 printed it (google-coral/edgetpu issue 386), and it
# is known to stop compiler 16 as well.
_REFUSED_EARLIER = {"DEPTH_TO_SPACE": 1}

# Of ops that the device runs or that are usual in models: what the compilers' own files hold.
_CUSTOM_OPS = {
    "AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess",  # register.cc
    "PosenetDecoderOp",  # on the CPU in compiled models of google-coral/test_data
    "edgetpu-custom-op",
}  # fmt: skip
# Types that the schema got after TensorFlow 2.5: a file with one is refused when it is read.
_NEWER_TYPES = {"int4", "uint16", "bfloat16"}


def _parsed(table: str) -> dict[str, int]:
    words = table.split()
    numbers = [*words[1:], ""]
    return {
        word: int(number) if number.isdigit() else 1
        for word, number in zip(words, numbers, strict=True)
        if not word.isdigit()
    }


HIGHEST_VERSIONS = _parsed(_TABLE) | _REFUSED_EARLIER
"""Highest version of each op that compiler 16 can read; it stops at files with any other op."""


def unreadable_reason(graph: OpGraph, op: int) -> str | None:
    """Why compiler 16 cannot read a file that holds this op, or None.

    A graph without attributes (`OpGraph.from_arrays`) has no such ops.
    """
    if not graph.op_attributes:
        return None
    kind, version = graph.op_types[op], graph.op_attributes[op].version
    if kind.startswith("CUSTOM:"):
        name = kind.removeprefix("CUSTOM:")
        if name in _CUSTOM_OPS:
            return None
        return f"Unresolved custom op {name}: the compiler stops at the whole file"
    highest = HIGHEST_VERSIONS.get(kind)
    if highest is None:
        return (
            f"Operation not supported, and newer than the compiler: {kind} is not among the ops of "
            "TensorFlow 2.5, with which it reads files, so it stops at the whole file"
        )
    if version > highest:
        return (
            f"Operation version not supported ({version}): the compiler reads {kind} up to version "
            f"{highest} and stops at the whole file"
        )
    for tensor in [*graph.inputs_of(op).tolist(), *graph.outputs_of(op).tolist()]:
        dtype = graph.tensor_dtypes[tensor]
        if dtype in _NEWER_TYPES:
            return f"Tensor type {dtype} is newer than the compiler, which stops at the whole file"
    return None
