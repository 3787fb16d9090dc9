import math

import numpy as np
import pytest
from schedule_reference import make_graph

from respect_tf._errors import ArgumentError
from respect_tf.scheduling import PeakMemory, Schedule, resolve_objective, stage_costs

#   0 --> 1 --> 3      op 2 reads the model's input and op 0; op 1's tensor is an output
#    \--> 2 ---/
GRAPH = make_graph(
    [10, 20, 30, 40],
    [1, 2, 4, 8],
    [[0, 1], [0, 2], [1, 3], [2, 3]],
    model_inputs=[(16, [2, 3])],
    more_outputs=[1],
)


def test_parameters_count_alone_without_a_weight():
    costs = stage_costs(GRAPH, Schedule([0, 0, 1, 1]), PeakMemory())
    assert costs == [30, 70]
    assert all(type(cost) is int for cost in costs)


def test_tensors_count_once_per_stage_they_enter_or_leave():
    # Stage 0 makes tensor 0, read later, and tensor 1, an output that is also read later; stage 1
    # reads both and the model's input, and makes the output 3.
    costs = stage_costs(GRAPH, Schedule([0, 0, 1, 1]), PeakMemory(1))
    assert costs == [30 + 1 + 2, 70 + (1 + 2 + 16) + 8]
    assert all(type(cost) is int for cost in costs)


def test_a_tensor_enters_each_stage_that_reads_it():
    costs = stage_costs(GRAPH, Schedule([0, 1, 2, 3]), PeakMemory(1))
    assert costs == [10 + 1, 20 + 1 + 2, 30 + 1 + 16 + 4, 40 + 2 + 4 + 16 + 8]


def test_fractions_are_kept():
    assert stage_costs(GRAPH, Schedule([0, 0, 1, 1]), PeakMemory(0.5)) == [31.5, 83.5]
    thin = make_graph([0.1, 0.2], [1, 1], [[0, 1]])
    assert stage_costs(thin, Schedule([0, 0]), PeakMemory()) == [math.fsum([0.1, 0.2])]


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "1", None, True])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ArgumentError, match="communication_weight"):
        PeakMemory(weight)


@pytest.mark.parametrize("weight", [0, 1, 0.1, 1e-9, 3e20])
def test_an_objective_can_be_rebuilt_from_its_name(weight):
    assert resolve_objective(PeakMemory(weight).name) == PeakMemory(weight)


def test_equal_weights_are_equal_objectives():
    assert PeakMemory() == PeakMemory(0) == PeakMemory(0.0)
    assert PeakMemory(1) != PeakMemory(2)
    assert PeakMemory(communication_weight=np.float64(0.5)).communication_weight == 0.5


@pytest.mark.parametrize(
    "name", ["", "mem", "memory()", "memory(communication_weight=1..2)", 3, None, PeakMemory]
)
def test_unknown_objectives_are_refused_with_the_choices(name):
    with pytest.raises(ArgumentError, match=r'"memory"|no number'):
        resolve_objective(name)
