"""What TFLite's converter does to a float graph: it folds, fuses and removes ops.

The rules are those that its passes show on small models; the tests convert such models and compare.
"""

from __future__ import annotations

import collections
import dataclasses
import math

from respect_tf.graph.lowering._expanding import (
    FOLDABLE,
    expand_batch_norms,
    expand_groups,
    expand_squares,
    part_extremes,
    remove_unread,
)
from respect_tf.graph.lowering._form import Form, Op, Value
from respect_tf.graph.lowering._moves import rewrite_moves

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# Without TRANSPOSE_CONV, whose activation is an op of its own after rewriting.
_FUSES_ACTIVATION = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "DIV", "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
)  # fmt: skip
_BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")


def fuse(form: Form) -> None:
    """Fold batch normalisation, fuse activations, and remove what does nothing, in place."""
    _share_equal_ops(form)
    while _one_round(form):
        pass
    expand_batch_norms(form)
    while _one_round(form):
        pass
    expand_squares(form)
    rewrite_moves(form)
    while _one_round(form):
        pass
    expand_groups(form)
    remove_unread(form)
    part_extremes(form)


def _share_equal_ops(form: Form) -> None:
    """Of ops that compute the same thing from the same tensors, one stays."""
    graph = _Links(form)
    first: dict[object, Op] = {}
    for op in form.ops:
        if any(value.constant and value.key is None for value in op.inputs):
            continue  # weights of its own
        inputs = tuple(v.key if v.constant else id(v) for v in op.inputs)
        same = first.setdefault((op.kind, inputs, op.attributes, op.made.shape), op)
        if same is not op and len(op.outputs) == 1:
            graph.drop(op, same.made)
    form.ops = [op for op in form.ops if op.kind != "GONE"]


def _one_round(form: Form) -> bool:
    """One pass over the ops. Returns whether anything changed."""
    graph = _Links(form)
    changed = False
    for op in tuple(form.ops):
        changed |= _fused(op, graph)
    if changed:
        form.ops = [op for op in form.ops if op.kind != "GONE"]
    return changed


class _Links:
    """Who makes and who reads each tensor."""

    def __init__(self, form: Form) -> None:
        self.maker = {id(value): op for op in form.ops for value in op.outputs}
        self.readers: dict[int, list[Op]] = collections.defaultdict(list)
        for op in form.ops:
            for value in op.inputs:
                self.readers[id(value)].append(op)
        self.form = form

    def only_reader(self, value: Value) -> bool:
        """Whether one op reads it, and the model does not return it."""
        return len(self.readers[id(value)]) == 1 and not self.is_output(value)

    def is_output(self, value: Value) -> bool:
        """Whether the model returns it."""
        return any(value is output for output in self.form.outputs)

    def drop(self, op: Op, value: Value) -> None:
        """Remove an op; what read its result reads a value that there is already."""
        gone = op.made
        for reader in self.readers.pop(id(gone), []):
            reader.inputs = [value if v is gone else v for v in reader.inputs]
            self.readers[id(value)].append(reader)
        self.readers[id(value)] = [r for r in self.readers[id(value)] if r is not op]
        self.form.outputs = [value if v is gone else v for v in self.form.outputs]
        op.kind = "GONE"

    def read_instead(self, op: Op, before: Op, value: Value) -> None:
        """An op reads what the op before it reads; that one goes if nobody else needs it."""
        left = [reader for reader in self.readers[id(before.made)] if reader is not op]
        self.readers[id(before.made)] = left
        op.inputs[0] = value
        self.readers[id(value)].append(op)
        if not left and not self.is_output(before.made):
            self.readers[id(value)].remove(before)
            before.kind = "GONE"

    def swap(self, before: Op, op: Op) -> None:
        """Two ops, one behind the other, in the other order. The first one keeps its shape."""
        source, inner = before.inputs[0], Value(before.inputs[0].shape)
        op.inputs[0], before.inputs[0] = source, inner
        op.outputs, before.outputs = [inner], op.outputs
        self.readers[id(source)] = [op if r is before else r for r in self.readers[id(source)]]
        self.readers[id(inner)] = [before]
        self.maker[id(inner)], self.maker[id(before.made)] = op, before
        self.form.ops.remove(before)
        self.form.ops.insert(self.form.ops.index(op) + 1, before)

    def merge(self, before: Op, op: Op) -> None:
        """Remove an op whose work the op before does now: that one makes its result."""
        old = before.made
        before.outputs = list(op.outputs)
        self.maker[id(op.made)] = before
        self.readers.pop(id(old), None)
        op.kind = "GONE"


def _fused(op: Op, graph: _Links) -> bool:
    """Apply the first rule that fits an op."""
    if op.kind == "GONE":
        return False
    if op.kind == "NOTHING" or (op.kind == "RESHAPE" and op.made.shape == op.inputs[0].shape):
        graph.drop(op, op.inputs[0])
        return True
    before = graph.maker.get(id(op.inputs[0])) if op.inputs else None
    if before is not None and (_take_number(before, op, graph) or _take_zeros(before, op, graph)):
        return True
    # A dense layer over a sequence takes factors of its inputs, and a reshape what another reads.
    taken = (
        ("RESHAPE", "SCALE") if op.kind == "RESHAPE" and op.inputs[1].key is None else ("RESHAPE",)
    )
    if op.kind == "RESHAPE" and before is not None and before.kind in taken:
        graph.read_instead(op, before, before.inputs[0])
        return True
    if op.kind in _BINARY and _pass_reshapes(op, graph):
        return True
    if before is None or before.kind == "GONE":
        return False
    if op.kind in _ACTIVATIONS and _copy_dense(before, op, graph):
        return True
    if not graph.only_reader(before.made):
        return False
    if op.kind == "SQUARE":
        return _square(before, op, graph)
    if op.kind == "FULLY_CONNECTED" and before.kind in FOLDABLE and len(op.made.shape) == 2:
        return _take_vectors(before, op, graph)
    if before.kind == "RESHAPE" and (op.kind in _ACTIVATIONS or op.kind in FOLDABLE):
        return _pass_reshape(before, op, graph)
    if op.kind in _ACTIVATIONS:
        return _fuse_activation(before, op, graph)
    if op.kind in FOLDABLE:
        return _fold(before, op, graph)
    if op.kind == "RESHAPE":
        return _fuse_reshape(before, op, graph)
    return False


def _fuse_activation(before: Op, op: Op, graph: _Links) -> bool:
    """An activation becomes an option of the op before it; a second RELU does nothing."""
    fused = before.attributes.fused_activation
    if before.kind not in _FUSES_ACTIVATION:
        return False
    if fused != "NONE" and not (op.kind == "RELU" and fused in ("RELU", "RELU6")):
        return False
    before.attributes = dataclasses.replace(
        before.attributes, fused_activation=op.kind if fused == "NONE" else fused
    )
    graph.merge(before, op)
    return True


def _copy_dense(before: Op, op: Op, graph: _Links) -> bool:
    """An activation takes a copy of the dense layer before it, where others read that one, too."""
    if before.kind != "FULLY_CONNECTED" or graph.only_reader(before.made):
        return False
    if before.attributes.fused_activation != "NONE":
        return False
    graph.readers[id(before.made)].remove(op)
    op.attributes = dataclasses.replace(before.attributes, fused_activation=op.kind)
    op.kind, op.inputs = before.kind, list(before.inputs)
    for value in op.inputs:
        graph.readers[id(value)].append(op)
    return True


def _square(before: Op, op: Op, graph: _Links) -> bool:
    """The square of a difference is an op; squares come before reshapes."""
    if before.kind == "SUB" and before.attributes.fused_activation == "NONE":
        before.kind = "SQUARED_DIFFERENCE"
        graph.merge(before, op)
        return True
    if before.kind == "RESHAPE":
        graph.swap(before, op)
        return True
    return False


def _fold(before: Op, op: Op, graph: _Links) -> bool:
    """Factors and summands per channel go into the weights and the bias of what is before them."""
    if before.kind not in _CONVOLUTIONS or before.attributes.fused_activation != "NONE":
        return False
    units = before.made.shape[-1]
    if op.kind != "SCALE":
        before.attributes = dataclasses.replace(before.attributes, has_bias=True)
        place = 3 if before.kind == "TRANSPOSE_CONV" else 2
        if len(before.inputs) == place:
            before.inputs.append(Value((units,), "int32", constant=True))
    graph.merge(before, op)
    return True


def _take_number(before: Op, op: Op, graph: _Links) -> bool:
    """A convolution without padding takes one number that all of its input is scaled or moved by.

    Scaling passes the zeros of a PAD, moving does not. Other readers keep the op before.
    """
    if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or op.attributes.padding != "VALID":
        return False
    reader = op
    if before.kind == "PAD" and graph.only_reader(before.made):
        scaled = graph.maker.get(id(before.inputs[0]))
        if scaled is None or scaled.kind != "SCALE":
            return False
        reader, before = before, scaled
    if before.kind not in ("SCALE", "BIAS", "MINUS") or before.inputs[1].shape != ():
        return False
    if before.kind != "SCALE":
        op.attributes = dataclasses.replace(op.attributes, has_bias=True)
    graph.read_instead(reader, before, before.inputs[0])
    return True


def _take_zeros(before: Op, op: Op, graph: _Links) -> bool:
    """Zeros that a convolution without padding gets are its own, where SAME adds just as many."""
    if before.kind != "PAD" or op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return False
    if op.attributes.padding != "VALID":
        return False
    source, weights = before.inputs[0], op.inputs[1]
    settings = before.inputs[1].settings or ()
    if len(source.shape) != 4 or len(settings) != 8 or any(settings[:2]) or any(settings[6:]):
        return False
    for axis, (step, spread) in enumerate(
        zip(op.attributes.strides, op.attributes.dilation, strict=True)
    ):
        size, window = source.shape[1 + axis], (weights.shape[1 + axis] - 1) * spread + 1
        total = max((math.ceil(size / step) - 1) * step + window - size, 0)
        same = (total // 2, total - total // 2)
        given = tuple(settings[2 + 2 * axis : 4 + 2 * axis])
        if given != same or op.made.shape[1 + axis] != math.ceil(size / step):
            return False
    op.attributes = dataclasses.replace(op.attributes, padding="SAME")
    graph.read_instead(op, before, source)
    scaled = graph.maker.get(id(source))
    if scaled is not None and scaled.kind == "SCALE" and scaled.inputs[1].shape == ():
        graph.read_instead(op, scaled, scaled.inputs[0])
    return True


def _take_vectors(before: Op, op: Op, graph: _Links) -> bool:
    """A dense layer takes what its input is multiplied by and added to."""
    if before.kind != "SCALE":
        op.attributes = dataclasses.replace(op.attributes, has_bias=True)
    if len(op.inputs) == 2 and before.kind != "SCALE":
        op.inputs.append(Value((op.made.shape[-1],), "int32", constant=True))
    graph.read_instead(op, before, before.inputs[0])
    return True


def _pass_reshape(before: Op, op: Op, graph: _Links) -> bool:
    """Behind a convolution over one dimension, activations come before the image is flattened."""
    source = graph.maker.get(id(before.inputs[0]))
    if source is None or source.kind not in _FUSES_ACTIVATION:
        return False
    if source.made.shape != (1, *op.made.shape) or not graph.only_reader(source.made):
        return False
    graph.swap(before, op)
    return True


def _pass_reshapes(op: Op, graph: _Links) -> bool:
    """Two tensors of a shape that are both reshaped are joined first, and reshaped then."""
    makers = [graph.maker.get(id(value)) for value in op.inputs]
    if len(makers) != 2 or op.inputs[0] is op.inputs[1]:
        return False
    first, second = makers
    if first is None or second is None or {first.kind, second.kind} != {"RESHAPE"}:
        return False
    if None in (first.inputs[1].key, second.inputs[1].key):  # rewriting puts them in later
        return False
    one_shape = first.inputs[0].shape == second.inputs[0].shape
    if not one_shape or first.made.shape != op.made.shape or second.made.shape != op.made.shape:
        return False
    if not (graph.only_reader(first.made) and graph.only_reader(second.made)):
        return False
    graph.drop(second, second.inputs[0])
    graph.swap(first, op)
    return True


def _fuse_reshape(before: Op, op: Op, graph: _Links) -> bool:
    """A mean over an image can keep its dimensions of size 1 itself."""
    if before.kind not in ("MEAN", "REDUCE_MAX", "SUM"):
        return False
    source, axes = before.inputs[0].shape, before.inputs[1].settings or ()
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(source))
    if op.made.shape != kept:
        return False
    graph.merge(before, op)
    return True
