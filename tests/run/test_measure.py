import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf._errors import ArgumentError, InvalidModelError
from respect_tf.graph import OpGraph
from respect_tf.run import measure_on_cpu
from respect_tf.run._measure import stages_around
from respect_tf.scheduling import check_schedule, schedule


@pytest.fixture(scope="module")
def model():
    """0 conv; 1 conv and 2 relu read it; 3 adds 0 and 1; 4 adds 2 and 3; 5 conv."""
    builder = ModelBuilder()
    stem = builder.conv(builder.input())
    left = builder.conv(stem)
    right = builder.relu(stem)
    joined = builder.add(right, builder.add(stem, left))
    return builder.build([builder.conv(joined, 64)])


def test_it_times_parts_of_a_model_and_the_whole(model):
    measure = measure_on_cpu(model, num_runs=2)
    for ops in ([0], [1, 3], [2], [4, 5], [0, 1, 2, 3, 4, 5], [5]):
        assert measure(np.array(ops)) > 0


def test_more_work_takes_longer():
    builder = ModelBuilder()
    tensor = builder.conv(builder.input(), 8)
    for _ in range(3):
        tensor = builder.conv(tensor, 1024)
    # 8,000 times the work, and a median of many runs, so that no load of a machine turns it around.
    measure = measure_on_cpu(builder.build([tensor]), num_runs=25)
    assert measure(np.array([2, 3])) > measure(np.array([0]))


def test_a_model_is_scheduled_by_its_times(model):
    graph = OpGraph.from_tflite(model)
    found = schedule(
        graph, 3, "profile", measure=measure_on_cpu(model, num_runs=1), objective="memory"
    )
    check_schedule(graph, found)


def test_what_the_ops_need_goes_before_them(model):
    graph = OpGraph.from_tflite(model)
    assert graph.op_types[:3] == ("CONV_2D", "CONV_2D", "RELU")
    stages, place = stages_around(graph, np.array([1, 3]))
    assert (stages.tolist(), place) == ([0, 1, 2, 1, 2, 2], 1)
    stages, place = stages_around(graph, np.array([0, 2]))
    assert (stages.tolist(), place) == ([0, 1, 0, 1, 1, 1], 0)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([0, 3], "op 1 CONV_2D .* lies between ops"),
        ([], "integers of the shape"),
        ([0.5], "integers of the shape"),
        ([6], "from 0 to 5"),
        ([-1], "from 0 to 5"),
    ],
)
def test_ops_that_are_no_segment_are_refused(model, ops, message):
    with pytest.raises(ArgumentError, match=message):
        measure_on_cpu(model)(np.array(ops))


def test_bad_arguments_are_refused(model):
    with pytest.raises(ArgumentError, match="num_runs"):
        measure_on_cpu(model, num_runs=0)
    with pytest.raises(InvalidModelError):
        measure_on_cpu(b"no model")
