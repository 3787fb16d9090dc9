"""Builds small int8 .tflite models op by op, without a converter."""

from __future__ import annotations

import numpy as np

from respect_tf.tflite import schema, write_model

_SCALE, _ZERO_POINT = 0.05, 3


class ModelBuilder:
    """Every activation is an int8 map [1, 4, 4, channels]; tensors are known by their index."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._schema = schema()
        self._tensors: list = []
        self._operators: list = []
        self._buffers = [self._schema.BufferT()]
        self._codes: list = []
        self._code_of: dict[tuple[int, int], int] = {}
        self._shared_weights: dict[tuple[int, int], tuple[int, int]] = {}
        self.inputs: list[int] = []

    # Tensors

    def tensor(
        self,
        name: str | bytes,
        shape,
        dtype: str = "INT8",
        *,
        data: np.ndarray | None = None,
        scale=(_SCALE,),
        zero_point=(_ZERO_POINT,),
        variable: bool = False,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.name = name
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(self._schema.TensorType, dtype)
        tensor.isVariable = variable
        if scale is not None:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(scale, np.float32)
            tensor.quantization.zeroPoint = np.array(zero_point, np.int64)
        if data is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def input(self, name: str = "", channels: int = 8, dtype: str = "INT8") -> int:
        scale = None if dtype == "FLOAT32" else (_SCALE,)
        tensor = self.tensor(name or f"input_{len(self.inputs)}", (1, 4, 4, channels), dtype,
                             scale=scale)  # fmt: skip
        self.inputs.append(tensor)
        return tensor

    def constant(self, shape, name: str = "constant") -> int:
        data = self._random.integers(-127, 128, shape).astype(np.int8)
        return self.tensor(name, shape, data=data)

    def channels(self, tensor: int) -> int:
        return int(self._tensors[tensor].shape[-1])

    def rename(self, tensor: int, name: str | bytes) -> None:
        self._tensors[tensor].name = name

    # Ops

    def op(self, kind: str, inputs, outputs, options=None, version: int = 1) -> None:
        code = getattr(self._schema.BuiltinOperator, kind)
        if (code, version) not in self._code_of:
            entry = self._schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = version
            self._codes.append(entry)
            self._code_of[code, version] = len(self._codes) - 1
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code_of[code, version]
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options is not None:
            kind_of_options = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind_of_options)
            operator.builtinOptions = options
        self._operators.append(operator)

    def custom_op(self, name: str, inputs, outputs, options: bytes) -> None:
        """An op that the schema does not know, with options in bytes."""
        entry = self._schema.OperatorCodeT()
        entry.builtinCode = self._schema.BuiltinOperator.CUSTOM
        entry.deprecatedBuiltinCode = self._schema.BuiltinOperator.CUSTOM
        entry.customCode = name
        entry.version = 1
        self._codes.append(entry)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = len(self._codes) - 1
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        operator.customOptions = np.frombuffer(bytes(options), np.uint8)
        self._operators.append(operator)

    def _map(self, channels: int, name: str = "") -> int:
        return self.tensor(name or f"t{len(self._tensors)}", (1, 4, 4, channels))

    def add(self, left: int, right: int) -> int:
        out = self._map(max(self.channels(left), self.channels(right)))
        self.op("ADD", [left, right], [out], self._schema.AddOptionsT(), version=2)
        return out

    def relu(self, tensor: int) -> int:
        out = self._map(self.channels(tensor))
        self.op("RELU", [tensor], [out], version=2)
        return out

    def conv(self, tensor: int, channels: int = 8, *, shared: bool = False) -> int:
        """A 1x1 convolution; with `shared`, all of the same sizes read the same constants."""
        key = (self.channels(tensor), channels)
        if not shared or key not in self._shared_weights:
            weights = self._random.integers(-127, 128, (channels, 1, 1, key[0])).astype(np.int8)
            bias = self._random.integers(-500, 500, channels).astype(np.int32)
            made = (
                self.tensor("weights", weights.shape, data=weights, scale=(0.01,), zero_point=(0,)),
                self.tensor("bias", bias.shape, "INT32", data=bias, scale=(_SCALE * 0.01,),
                            zero_point=(0,)),
            )  # fmt: skip
            self._shared_weights[key] = made
        out = self._map(channels)
        options = self._schema.Conv2DOptionsT()
        options.strideH = options.strideW = 1
        self.op("CONV_2D", [tensor, *self._shared_weights[key]], [out], options, version=3)
        return out

    def split(self, tensor: int) -> list[int]:
        axis = self.tensor("axis", (), "INT32", data=np.array(3, np.int32), scale=None)
        outs = [self._map(self.channels(tensor) // 2) for _ in range(2)]
        options = self._schema.SplitOptionsT()
        options.numSplits = 2
        self.op("SPLIT", [axis, tensor], outs, options, version=2)
        return outs

    def concatenate(self, tensors: list[int]) -> int:
        out = self._map(sum(self.channels(tensor) for tensor in tensors))
        options = self._schema.ConcatenationOptionsT()
        options.axis = 3
        self.op("CONCATENATION", tensors, [out], options, version=2)
        return out

    def dequantize(self, tensor: int) -> int:
        shape = self._tensors[tensor].shape
        out = self.tensor(f"t{len(self._tensors)}", shape, "FLOAT32", scale=None)
        self.op("DEQUANTIZE", [tensor], [out], version=2)
        return out

    def quantize(self, tensor: int) -> int:
        out = self._map(self.channels(tensor))
        self.op("QUANTIZE", [tensor], [out], version=1)
        return out

    # The model

    def build(
        self, outputs, *, signature: tuple[list[str], list[str]] | None = None, metadata=None
    ) -> bytes:
        model = self._schema.ModelT()
        model.version = 3
        model.description = "made op by op"
        model.operatorCodes = self._codes
        subgraph = self._schema.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors = self._tensors
        subgraph.operators = self._operators
        subgraph.inputs = np.array(self.inputs, np.int32)
        subgraph.outputs = np.array(outputs, np.int32)
        model.subgraphs = [subgraph]
        for name, content in (metadata or {}).items():
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self._buffers.append(buffer)
            entry = self._schema.MetadataT()
            entry.name, entry.buffer = name, len(self._buffers) - 1
            model.metadata = [*(model.metadata or []), entry]
        model.buffers = self._buffers
        if signature is not None:
            definition = self._schema.SignatureDefT()
            definition.signatureKey = "serving_default"
            definition.subgraphIndex = 0
            definition.inputs = self._entries(signature[0], self.inputs)
            definition.outputs = self._entries(signature[1], outputs)
            model.signatureDefs = [definition]
        return write_model(model)

    def _entries(self, names: list[str], tensors: list[int]) -> list:
        entries = []
        for name, tensor in zip(names, tensors, strict=True):
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor
            entries.append(entry)
        return entries
