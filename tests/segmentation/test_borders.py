"""Every op that Coral's runner computes wrongly at a segment's border is kept away from it.

For each row of the table of such ops there is a model whose stale result is worked out by hand.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marking_runner import MarkingRunner
from model_builder import ModelBuilder
from random_models import models, stages

import respect_tf
from respect_tf import InterpreterError, OpGraph, SegmentError
from respect_tf.graph import op_graph_of
from respect_tf.segmentation import Segment, check_runner_rules, part_of, random_inputs
from respect_tf.tflite import Interpreter, mark_made_here, op_type, read_model

# Stored values of ModelBuilder's tensors: 0.05 * (stored - 3).
ONE, TWO = 23, 43


@dataclasses.dataclass
class Row:
    """A row of the table: a model, its cut, and what comes out without a copy.

    Attributes:
        model: Has one input.
        schedule: The stage of each op.
        segment: The segment that goes wrong without a copy.
        says: What the rule says about it.
        stored: What each of two inferences reads, everywhere.
        right: What the two inferences return, everywhere, in the last output.
        stale: The same from Coral's runner, without the copy.
    """

    model: bytes
    schedule: list[int]
    segment: int
    says: str
    right: tuple[float, float]
    stale: tuple[float, float]
    stored: tuple[float, float] = (ONE, TWO)


def _float_map(builder: ModelBuilder, name: str) -> int:
    return builder.tensor(name, (1, 4, 4, 8), "FLOAT32", scale=None)


def _float_op(builder: ModelBuilder, kind: str, *inputs: int, options=None, version=1) -> int:
    out = _float_map(builder, f"{kind.lower()}_{len(builder._tensors)}")
    builder.op(kind, list(inputs), [out], options, version=version)
    return out


def _concatenation_int8() -> Row:
    # relu ─► concatenate(x, x) ─► | relu. Nobody writes the border: stored 0 is -0.15, relu makes
    # it 0.0, stored 3.
    builder = ModelBuilder()
    first = builder.relu(builder.input("image"))
    joined = builder.concatenate([first, first])
    model = builder.build([builder.relu(joined)])
    says = "CONCATENATION, writes the segment's output"
    return Row(model, [0, 0, 1], 0, says, right=(ONE, TWO), stale=(3, 3))


def _concatenation_float() -> Row:
    # The same with floats, where nobody writes: 0.0.
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    joined = builder.tensor("joined", (1, 4, 4, 16), "FLOAT32", scale=None)
    options = builder._schema.ConcatenationOptionsT()
    options.axis = 3
    builder.op("CONCATENATION", [image, image], [joined], options)
    model = builder.build([joined])
    says = "CONCATENATION, writes the segment's output"
    return Row(model, [0], 0, says, right=(1, 2), stale=(0, 0), stored=(1, 2))


def _dequantize_of_an_input() -> Row:
    # The model's input is the segment's: 1.0 of the first inference stays.
    builder = ModelBuilder()
    model = builder.build([builder.dequantize(builder.input("image"))])
    says = "DEQUANTIZE, reads the segment's input"
    return Row(model, [0], 0, says, right=(1.0, 2.0), stale=(1.0, 1.0))


def _dequantize_of_an_output() -> Row:
    # relu ─┬─────────────────────────► | ─► add ─► out. The map that skips is an output of segment
    #       └► dequantize ─► quantize ─► |              0, the DEQUANTIZE reads it there: 1.0 stays.
    # x + x is 2.0 and 4.0, of which 2.0 and 2.0 + 1.0 are stored 43 and 63 without a copy.
    builder = ModelBuilder()
    first = builder.relu(builder.input("image"))
    around = builder.quantize(builder.dequantize(first))
    model = builder.build([builder.add(first, around)])
    says = "DEQUANTIZE, reads a tensor that is the segment's output as well"
    return Row(model, [0, 0, 0, 1], 0, says, right=(43, 83), stale=(43, 63))


def _dequantize_of_a_constant() -> Row:
    # A model output that is a float16 constant, 1.5: written once, then never again.
    builder = ModelBuilder()
    early = builder.relu(builder.input("image"))
    half = builder.tensor(
        "half", (1, 4, 4, 8), "FLOAT16", data=np.full((1, 4, 4, 8), 1.5, np.float16), scale=None
    )
    single = _float_op(builder, "DEQUANTIZE", half, version=3)
    model = builder.build([early, single])
    says = "DEQUANTIZE of a constant, writes the segment's output"
    return Row(model, [0, 0], 0, says, right=(1.5, 1.5), stale=(1.5, 0.0))


def _matmul(builder: ModelBuilder, left: int, right: int, name: str) -> int:
    out = builder.tensor(name, (1, 4, 4, 4), "FLOAT32", scale=None)
    options = builder._schema.BatchMatMulOptionsT()
    options.adjY = True
    builder.op("BATCH_MATMUL", [left, right], [out], options)
    return out


def _batch_matmul_of_an_input() -> Row:
    # 8 channels of x * x: 8 and 32; with the right operand of the first inference 8 * 2 * 1 = 16.
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    model = builder.build([_matmul(builder, _float_op(builder, "RELU", image), image, "product")])
    says = "BATCH_MATMUL, reads the segment's input"
    return Row(model, [0, 0], 0, says, right=(8, 32), stale=(8, 16), stored=(1, 2))


def _batch_matmul_of_an_output() -> Row:
    # The same, but the right operand is made in the segment and returned, too.
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    right = _float_op(builder, "RELU", image)
    model = builder.build([right, _matmul(builder, image, right, "product")])
    says = "BATCH_MATMUL, reads a tensor that is the segment's output as well"
    return Row(model, [0, 0], 0, says, right=(8, 32), stale=(8, 16), stored=(1, 2))


ROWS = [
    _concatenation_int8,
    _concatenation_float,
    _dequantize_of_an_input,
    _dequantize_of_an_output,
    _dequantize_of_a_constant,
    _batch_matmul_of_an_input,
    _batch_matmul_of_an_output,
]
every_row = pytest.mark.parametrize("make", ROWS, ids=lambda make: make.__name__.lstrip("_"))


def _without_copies(row: Row) -> list[Segment]:
    """The same cut without a copy in the segment that needs it."""
    segments = list(respect_tf.segment(row.model, row.schedule))
    whole = read_model(row.model)
    graph = op_graph_of(whole)
    segment = segments[row.segment]
    content = part_of(whole, graph, segment.ops)
    mark_made_here(content)
    # Its outputs in the order of the segment's: part_of makes them in the order of the tensors.
    made = [text.name for text in segment.outputs]
    assert sorted(made) == sorted(_output_names(content))
    segment = dataclasses.replace(
        segment,
        content=content,
        outputs=tuple(segment.outputs[made.index(name)] for name in _output_names(content)),
    )
    segments[row.segment] = segment
    return segments


def _output_names(content: bytes) -> list[str]:
    graph = OpGraph.from_tflite(content)
    return [graph.tensor_names[tensor] for tensor in graph.model_outputs]


def _results(run: Callable, row: Row) -> list[float]:
    """What the last output is for the row's two inputs; everywhere the same."""
    graph = OpGraph.from_tflite(row.model)
    (tensor,) = graph.model_inputs.tolist()
    found = []
    for value in row.stored:
        given = np.full(graph.tensor_shapes[tensor], value, graph.tensor_dtypes[tensor])
        made = run([given])[-1]
        assert (made == made.flat[0]).all()
        found.append(float(made.flat[0]))
    return found


@every_row
def test_without_a_copy_the_result_is_stale_and_the_rules_say_so(make):
    row = make()
    mark_made_here(row.model)
    segments = _without_copies(row)
    assert _results(Interpreter(row.model).run, row) == list(row.right)
    assert _results(MarkingRunner(segments).run, row) == list(row.stale)
    with pytest.raises(SegmentError, match=rf"segment {row.segment}: op \d+ of its file, .*"):
        check_runner_rules(segments)
    with pytest.raises(SegmentError, match=row.says.replace("(", r"\(")):
        check_runner_rules(segments)
    found = check_runner_rules(segments, stale_borders="warn")
    assert any(row.says in warning for warning in found)


@every_row
def test_cutting_inserts_the_copy_that_mends_it(make):
    row = make()
    mark_made_here(row.model)
    segments = respect_tf.segment(row.model, row.schedule)
    assert _results(MarkingRunner(segments).run, row) == list(row.right)
    respect_tf.verify(row.model, segments)
    found = check_runner_rules(segments)
    assert not any("op " in warning for warning in found)


@every_row
def test_a_compiled_model_that_leaves_the_op_at_the_border_is_a_warning(make):
    row = make()
    bare = _without_copies(row)[row.segment].content
    segments = list(respect_tf.segment(row.model, row.schedule))
    # A compiler that maps nothing, and takes the copy for superfluous.
    segments[row.segment] = dataclasses.replace(segments[row.segment], compiled=bare)
    found = [warning for warning in check_runner_rules(segments) if row.says in warning]
    assert len(found) == 1
    assert f"segment {row.segment}, compiled: op" in found[0]


def test_one_copy_serves_several_readers():
    builder = ModelBuilder()
    first = builder.relu(builder.input("image"))
    floats = [builder.dequantize(first) for _ in range(3)]
    model = builder.build([first, *floats])
    (segment,) = respect_tf.segment(model, [0, 0, 0, 0])
    unpacked = read_model(segment.content)
    kinds = [op_type(unpacked, op) for op in unpacked.subgraphs[0].operators]
    assert kinds == ["RELU", "RESHAPE", "DEQUANTIZE", "DEQUANTIZE", "DEQUANTIZE"]


def test_ops_inside_a_segment_get_no_copy():
    builder = ModelBuilder()
    first = builder.relu(builder.input("image"))
    joined = builder.concatenate([first, first])
    model = builder.build([builder.quantize(builder.dequantize(builder.relu(joined)))])
    (segment,) = respect_tf.segment(model, [0] * 5)
    assert len(read_model(segment.content).subgraphs[0].operators) == 5


def test_a_float16_constant_stays_with_its_readers():
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    half = builder.tensor(
        "half", (1, 1, 1, 8), "FLOAT16", data=np.full((1, 1, 1, 8), 1.5, np.float16), scale=None
    )
    single = builder.tensor("single", (1, 1, 1, 8), "FLOAT32", scale=None)
    builder.op("DEQUANTIZE", [half], [single], version=3)
    first = _float_op(builder, "RELU", image)
    options = builder._schema.AddOptionsT
    second = _float_op(builder, "ADD", first, single, options=options())
    model = builder.build([second])
    with pytest.raises(respect_tf.ScheduleError, match="DEQUANTIZE"):
        respect_tf.segment(model, [0, 0, 1])
    respect_tf.segment(model, [1, 0, 1])
    schedule = respect_tf.schedule(OpGraph.from_tflite(model), 2, "exact", objective="memory")
    assert schedule.stages[0] == schedule.stages[2]


def _is_same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_models_are_right_at_every_inference_of_the_runner(data):
    model = data.draw(models(max_ops=8))
    mark_made_here(model)
    graph = OpGraph.from_tflite(model)
    segments = respect_tf.segment(model, data.draw(stages(graph)))
    whole, runner = Interpreter(model), MarkingRunner(segments)
    for inputs in random_inputs(graph, 3):
        assert _is_same(runner.run(inputs), whole.run(inputs))


def _recurrent_model(name: str) -> bytes:
    """h = relu(x + h), in floats; the state h is a variable tensor."""
    builder = ModelBuilder()
    image = builder.tensor(name, (1, 1), "FLOAT32", scale=None)
    builder.inputs.append(image)
    ones = [
        builder.tensor(name, shape, "FLOAT32", data=np.full(shape, value, np.float32), scale=None)
        for name, shape, value in (("w", (1, 1), 1), ("r", (1, 1), 1), ("b", (1,), 0))
    ]
    state = builder.tensor("h", (1, 1), "FLOAT32", scale=None, variable=True)
    out = builder.tensor("out", (1, 1), "FLOAT32", scale=None)
    options = builder._schema.RNNOptionsT()
    options.fusedActivationFunction = builder._schema.ActivationFunctionType.RELU
    builder.op("RNN", [image, *ones, state], [out], options)
    return builder.build([out])


@pytest.mark.parametrize("is_local", [True, False])
def test_states_are_reset_or_kept_as_the_user_says(is_local):
    model = _recurrent_model("here" if is_local else "in a worker")
    if is_local:
        mark_made_here(model)
    pipeline = respect_tf.convert(model, 1, strict=False, compile=False, verbose=0)
    told = [warning for warning in pipeline.warnings if "reset_states" in warning]
    assert len(told) == 1
    assert "segment 0: op 0 of its file, RNN, keeps its state" in told[0]
    x = np.ones((3, 1, 1), np.float32).reshape(3, 1)
    assert pipeline.predict(x).ravel().tolist() == [1, 1, 1]
    assert pipeline.predict(x[:1]).ravel().tolist() == [1]
    assert pipeline.predict(x, reset_states=False).ravel().tolist() == [2, 3, 4]
    assert pipeline.predict(x, reset_states=False).ravel().tolist() == [5, 6, 7]
    assert pipeline.predict(x).ravel().tolist() == [1, 1, 1]


def test_a_state_that_died_with_its_worker_is_an_error():
    with Interpreter(_recurrent_model("in a worker")) as interpreter:
        one = np.ones((1, 1), np.float32)
        interpreter.run([one])
        os.kill(interpreter.worker_pid, signal.SIGKILL)
        with pytest.raises(InterpreterError, match=r"process is gone|gone, and with it the state"):
            interpreter.run([one], reset_states=False)
        assert interpreter.run([one])[0].item() == 1
        assert interpreter.run([one], reset_states=False)[0].item() == 2
