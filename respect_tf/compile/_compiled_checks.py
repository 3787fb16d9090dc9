"""Whether what the compiler made is what was asked for."""

from __future__ import annotations

from typing import Any

from respect_tf._errors import CompilerError
from respect_tf.compile._compiled_model import compiled_of
from respect_tf.compile._log import CompilerLog, ModelLog
from respect_tf.tflite import read_model, tensor_type_names, text


def check_compiled(compiled: bytes, content: bytes, log: CompilerLog | None) -> None:
    """Check that a compiled model was made of another one, and compiled at all.

    The compiler gives a model back as it was where it can map none of its ops, and says so.

    Args:
        compiled: The bytes of the compiled model.
        content: Those of the model that it should be made of.
        log: What the compiler printed; None if that cannot be read.

    Raises:
        InvalidModelError: The compiled model is damaged.
        CompilerError: It has other inputs or outputs, or nothing in it is compiled and the log does
            not say that nothing could be.
    """
    check_same_interface(compiled, content)
    if compiled_of(read_model(compiled)) is not None:
        return
    models = () if log is None else log.models
    if len(models) == 1 and _maps_nothing(models[0]):
        return
    raise CompilerError(
        "Nothing in the model that should be compiled is: expected an op for the Edge TPU in it, "
        "or a log that says that no op can be mapped. Received: the ops of the model it was made "
        "of. Compile it again."
    )


def _maps_nothing(log: ModelLog) -> bool:
    if 0 in (log.num_subgraphs, log.num_edge_tpu_ops):
        return True
    return bool(log.ops) and not any(row.mapped for row in log.ops)


def check_same_interface(compiled: bytes, content: bytes) -> None:
    """Check that a compiled model has the inputs and outputs of the one it was made of.

    The compiler keeps names, types, shapes and their order; the pipeline runner relies on it.

    Raises:
        InvalidModelError: The compiled model is damaged.
        CompilerError: It has other inputs or outputs.
    """
    unpacked = read_model(compiled)
    compiled_of(unpacked)
    received, expected = _interface(unpacked), _interface(read_model(content))
    for role in ("inputs", "outputs"):
        if received[role] != expected[role]:
            raise CompilerError(
                f"The compiled model has other {role} than the model it should be made of. "
                f"Expected: {expected[role]}. Received: {received[role]}. Compile it again."
            )


def _interface(model: Any) -> dict[str, list[str]]:
    main = model.subgraphs[0]
    tensors = {"inputs": main.inputs, "outputs": main.outputs}
    return {
        role: [_shown(main.tensors[int(index)]) for index in ([] if found is None else found)]
        for role, found in tensors.items()
    }


def _shown(tensor: Any) -> str:
    shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
    return f"'{text(tensor.name)}' {tensor_type_names()[tensor.type]} {shape}"
