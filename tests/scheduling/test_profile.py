import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schedule_reference import best_cut, graphs, make_graph

from respect_tf._errors import ArgumentError
from respect_tf.scheduling import PeakMemory, check_schedule, schedule
from respect_tf.scheduling._compiler import partition_order
from respect_tf.scheduling._items import merge_colocated
from respect_tf.scheduling._problem import build_problem
from respect_tf.training import random_graph


class Stopwatch:
    """A measure whose times are known, and that counts what is measured."""

    def __init__(self, times, fixed=0.0):
        self.times = np.asarray(times, float)
        self.fixed = fixed
        self.measured = []

    def __call__(self, segment_ops):
        assert segment_ops.dtype == np.int64
        assert segment_ops.tolist() == sorted(set(segment_ops.tolist()))
        self.measured.append(tuple(segment_ops.tolist()))
        return self.fixed + float(self.times[segment_ops].sum())

    def slowest(self, found):
        stages = range(found.num_stages)
        return max(self.fixed + self.times[found.stages == stage].sum() for stage in stages)


def chain(parameters):
    count = len(parameters)
    return make_graph(parameters, [1] * count, [[op, op + 1] for op in range(count - 1)])


def test_time_counts_and_bytes_do_not():
    graph = chain([1, 1, 1, 1, 9])
    measure = Stopwatch([6, 1, 1, 1, 1])
    assert schedule(graph, 2, "compiler", objective="memory").stages.tolist() == [0, 0, 0, 0, 1]
    found = schedule(graph, 2, "profile", measure=measure, objective="memory")
    assert found.stages.tolist() == [0, 1, 1, 1, 1]
    assert (found.scheduler, found.objective, found.cost) == ("profile", "memory", 12)


@example([1, 1, 32, 547, 1, 1, 481], 4, 0)
@given(
    st.lists(st.integers(1, 1000), min_size=4, max_size=9), st.integers(1, 4), st.integers(0, 99)
)
@settings(max_examples=100, deadline=None)
def test_times_that_add_up_give_the_best_cut_of_the_order(times, num_stages, seed):
    parameters = np.random.default_rng(seed).integers(0, 100, len(times))
    measure = Stopwatch(times, fixed=0.25)
    found = schedule(chain(parameters), num_stages, "profile", measure=measure, objective="memory")
    best, _, _ = best_cut(chain(times), list(range(len(times))), num_stages, PeakMemory())
    assert measure.slowest(found) <= (best + 0.25) * 1.001 + 1e-9


@given(graphs(), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_any_times_give_a_valid_schedule_no_slower_than_the_compilers(graph, num_stages, seed):
    num_stages = min(num_stages, int(merge_colocated(graph)[0].max()) + 1)
    known = {}

    def noise(segment_ops):  # not even longer for more ops
        key = tuple(segment_ops.tolist())
        known.setdefault(key, float(np.random.default_rng([seed, len(known)]).integers(0, 50)))
        return known[key]

    found = schedule(graph, num_stages, "profile", measure=noise, objective="memory")
    check_schedule(graph, found)

    def slowest(result):
        stages = range(num_stages)
        return max(noise(np.flatnonzero(result.stages == stage)) for stage in stages)

    assert slowest(found) <= slowest(schedule(graph, num_stages, "compiler", objective="memory"))


def test_each_segment_is_measured_once_and_few_are():
    graph = random_graph("nasnet", 600, 0)
    measure = Stopwatch(np.random.default_rng(0).random(600))
    found = schedule(graph, 5, "profile", measure=measure, objective="memory")
    assert len(set(measure.measured)) == len(measure.measured)
    assert len(measure.measured) < 300
    order, _ = partition_order(build_problem(graph, 5, PeakMemory()))
    assert np.all(np.diff(found.stages[order]) >= 0)  # a cut of the compiler's order
    assert measure.slowest(found) < 1.01 * measure.times.sum() / 5 + measure.times.max()


def test_a_time_limit_stops_measuring():
    graph = chain([1] * 50)
    measure = Stopwatch(range(50))
    found = schedule(graph, 3, "profile", measure=measure, time_limit=0, objective="memory")
    assert (
        found.stages.tolist() == schedule(graph, 3, "compiler", objective="memory").stages.tolist()
    )
    assert len(measure.measured) == 3


def test_one_stage_needs_no_measurement():
    measure = Stopwatch([1, 1])
    assert schedule(
        chain([1, 1]), 1, "profile", measure=measure, objective="memory"
    ).stages.tolist() == [0, 0]
    assert measure.measured == []


def test_without_a_measure_the_error_says_what_is_needed():
    for given_measure, message in ((None, "measure_on_cpu"), (5, "a function.*int")):
        with pytest.raises(ArgumentError, match=message):
            schedule(chain([1, 1]), 2, "profile", measure=given_measure, objective="memory")
    with pytest.raises(ArgumentError, match=r"scheduler=\"profile\".*'exact'"):
        schedule(chain([1, 1]), 2, "exact", measure=Stopwatch([1, 1]), objective="memory")


@pytest.mark.parametrize("value", [None, "3", float("nan"), float("inf"), -1.0, True])
def test_what_is_no_time_is_refused_with_the_ops(value):
    with pytest.raises(ArgumentError, match=r"measure returned .* ops \[0\].*milliseconds"):
        schedule(chain([1, 1]), 2, "profile", measure=lambda ops: value, objective="memory")
