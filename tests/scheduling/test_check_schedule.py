import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_builder import ModelBuilder
from schedule_reference import (
    cost_and_crossing,
    graphs,
    make_graph,
    valid_stages,
)

from respect_tf import EdgeTpu, OpGraph, predict
from respect_tf._errors import ScheduleError
from respect_tf.scheduling import PeakMemory, Schedule, check_schedule

CHAIN = make_graph([1, 2, 3], [5, 6, 7], [[0, 1], [1, 2]])


def test_a_valid_schedule_passes():
    check_schedule(CHAIN, Schedule([0, 1, 2]))
    check_schedule(CHAIN, Schedule([0, 0, 1], cost=3, objective="memory"))
    check_schedule(CHAIN, Schedule([0, 0, 1], cost=16), PeakMemory(1))
    check_schedule(CHAIN, Schedule([0, 0, 1], cost=16, objective=PeakMemory(1).name))


def test_another_number_of_ops_is_found():
    with pytest.raises(ScheduleError, match=r"2 ops\. Expected one per op of the graph, 3"):
        check_schedule(CHAIN, Schedule([0, 1]))


def test_an_edge_to_an_earlier_stage_is_found():
    with pytest.raises(ScheduleError, match=r"op 2 OP 'op_2' in stage 0.*'op_1'.*op 1 OP"):
        check_schedule(CHAIN, Schedule([0, 1, 0]))


def test_an_empty_stage_is_found():
    schedule = Schedule([0, 0, 1])
    object.__setattr__(schedule, "num_stages", 3)
    with pytest.raises(ScheduleError, match="Stage 2 of 3 is empty"):
        check_schedule(CHAIN, schedule)


def test_a_stage_out_of_range_is_found():
    schedule = Schedule([0, 0, 1])
    object.__setattr__(schedule, "num_stages", 1)
    with pytest.raises(ScheduleError, match="Op 2 has the stage 1"):
        check_schedule(CHAIN, schedule)


def test_ops_that_must_share_a_stage_are_checked():
    graph = dataclasses.replace(CHAIN, colocated=np.array([[1, 2]], np.int32))
    check_schedule(graph, Schedule([0, 1, 1]))
    with pytest.raises(ScheduleError, match=r"op 1 .* stage 0 and op 2 .* stage 1"):
        check_schedule(graph, Schedule([0, 0, 1]))


def test_a_wrong_cost_is_found():
    with pytest.raises(ScheduleError, match=r"costs 4 \(memory\).*\[3, 3\].*therefore 3"):
        check_schedule(CHAIN, Schedule([0, 0, 1], cost=4, objective="memory"))
    with pytest.raises(ScheduleError, match="costs 3"):
        check_schedule(CHAIN, Schedule([0, 0, 1], cost=3), PeakMemory(1))


@given(graphs(max_ops=5), st.integers(1, 4), st.sampled_from([0.0, 1.0]), st.data())
def test_costs_agree_with_the_definitions(graph, num_stages, weight, data):
    found = list(valid_stages(graph, num_stages))
    if not found:
        return
    stages = data.draw(st.sampled_from(found))
    objective = PeakMemory(weight)
    cost, _ = cost_and_crossing(graph, stages, objective)
    check_schedule(graph, Schedule(stages, cost=cost, objective=objective.name))
    with pytest.raises(ScheduleError):
        check_schedule(graph, Schedule(stages, cost=cost + 1, objective=objective.name))


def _float_tail():
    builder = ModelBuilder()
    first = builder.relu(builder.input())
    return OpGraph.from_tflite(builder.build([builder.dequantize(builder.relu(first))]))


def test_a_cpu_stage_may_begin_with_a_dequantize():
    graph = _float_tail()
    check_schedule(graph, Schedule([0, 0, 1], cpu_stages=[1]))
    for bad in ((), (0,)):
        with pytest.raises(ScheduleError, match="DEQUANTIZE"):
            check_schedule(graph, Schedule([0, 0, 1], cpu_stages=bad))


def test_a_cpu_stage_costs_nothing_where_the_objective_knows_the_chip_alone():
    graph = OpGraph.from_arrays([10, 30, 5], [1, 1, 1], [[0, 1], [1, 2]])
    kwargs = {"objective": "memory", "lower_bound": None}
    check_schedule(graph, Schedule([0, 1, 2], cpu_stages=[1], cost=10, **kwargs))
    with pytest.raises(ScheduleError, match="costs 30"):
        check_schedule(graph, Schedule([0, 1, 2], cpu_stages=[1], cost=30, **kwargs))


def test_the_time_of_a_cpu_stage_is_part_of_the_cost():
    graph = _float_tail()
    plain = Schedule([0, 0, 1], cpu_stages=[1])
    cost = predict(graph, plain, "usb3-pc").interval_ms
    kwargs = {"objective": "throughput", "device": EdgeTpu.preset("usb3-pc")}
    check_schedule(graph, Schedule([0, 0, 1], cpu_stages=[1], cost=cost, **kwargs))
    with pytest.raises(ScheduleError, match="costs"):
        check_schedule(graph, Schedule([0, 0, 1], cpu_stages=[1], cost=2 * cost, **kwargs))
