"""Several models on some devices: the best way to share out, against trying everything."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respect_tf import ArgumentError, OpGraph
from respect_tf.device import EdgeTpu, predict, with_less_room
from respect_tf.graph.lowering import lower
from respect_tf.planning import plan_fleet_of
from respect_tf.planning._fleet_search import Use, best_share
from respect_tf.planning._fleet_uses import FleetUses
from respect_tf.report import fleet_text

HOST = EdgeTpu.preset("usb3-pi5")


def _partitions(models):
    if not models:
        yield []
        return
    first, *others = models
    for size in range(len(models)):
        for joined in itertools.combinations(others, size):
            rest = [model for model in others if model not in joined]
            for partition in _partitions(rest):
                yield [(first, *joined), *partition]


def _least(num_models, num_devices, table):
    """(load, streamed) of the best share, by trying all of them."""
    found = []
    for partition in _partitions(list(range(num_models))):
        groups = [sum(1 << model for model in group) for group in partition]
        for counts in itertools.product(range(1, num_devices + 1), repeat=len(groups)):
            if sum(counts) != num_devices:
                continue
            ways = [table[key] for key in zip(groups, counts, strict=True)]
            for uses in itertools.product(*ways):
                load = max(
                    *(use.device_load for use in uses),
                    sum(use.bus_load for use in uses),
                    sum(use.host_load for use in uses),
                )
                found.append((round(load, 9), sum(use.streamed for use in uses)))
    return min(found, default=None)


@settings(max_examples=100)
@given(st.data())
def test_no_way_to_share_out_is_better(data):
    num_models = data.draw(st.integers(1, 4))
    num_devices = data.draw(st.integers(1, 5))
    load = st.integers(0, 8).map(lambda eighths: eighths / 8)
    use = st.builds(Use, load, load, load, st.integers(0, 3).map(float), st.just(0))
    table = {
        (group, count): data.draw(st.lists(use, max_size=2))
        for group in range(1, 1 << num_models)
        for count in range(1, num_devices + 1)
    }
    share = best_share(num_models, num_devices, lambda group, count: table[group, count])
    expected = _least(num_models, num_devices, table)
    found = None if share is None else (round(share.load, 9), share.total.streamed)
    assert found == expected
    if share is not None:
        assert sum(group for group, _, _ in share.groups) == (1 << num_models) - 1
        assert sum(count for _, count, _ in share.groups) == num_devices


def _graph(mebibytes, gigamacs, num_ops=4):
    """A chain of equal convolutions, in bytes and work."""
    size = int(mebibytes * 2**20 / num_ops)
    macs = [int(gigamacs * 1e9 / num_ops)] * num_ops
    edges = [[op, op + 1] for op in range(num_ops - 1)]
    return OpGraph.from_arrays([size] * num_ops, [50_000] * num_ops, edges, macs=macs)


LIGHT, MIDDLE, HEAVY = _graph(1.0, 0.3), _graph(4.0, 1.0), _graph(20.0, 3.0)


def _alone_ms(graph):
    return predict(graph, np.zeros(graph.num_ops, int), HOST).interval_ms


def test_light_models_share_a_device_and_its_memory():
    plan = plan_fleet_of({"a": LIGHT, "b": MIDDLE}, 4, rates={"a": 5, "b": 5}, device=HOST)
    assert plan.num_devices == 1
    assert plan.is_met
    (group,) = plan.groups
    assert set(group.models) == {"a", "b"}
    assert sum(group.streamed_bytes.values()) == 0  # both fit
    expected = 5 * (_alone_ms(LIGHT) + _alone_ms(MIDDLE)) / 1000
    assert plan.load == pytest.approx(expected, rel=1e-6)


def test_models_that_do_not_fit_together_stream_and_the_order_decides_which():
    big = _graph(6.0, 0.5)
    plan = plan_fleet_of({"a": big, "b": MIDDLE}, 1, rates={"a": 20, "b": 0.1}, device=HOST)
    (group,) = plan.groups
    assert group.models[0] == "a"  # asked for more often, so its parameters stay
    assert group.streamed_bytes["a"] == 0
    assert group.streamed_bytes["b"] > 0


def test_a_heavy_model_becomes_a_pipeline_with_as_many_devices_as_its_rate_needs():
    rates = {"light": 10.0, "heavy": 45.0}
    plan = plan_fleet_of({"light": LIGHT, "heavy": HEAVY}, 8, rates=rates, device=HOST)
    assert plan.is_met
    heavy = plan.group_of("heavy")
    assert heavy.models == ("heavy",)
    assert len(heavy.replicas) > 1
    fewer = plan_fleet_of(
        {"light": LIGHT, "heavy": HEAVY}, plan.num_devices - 1, rates=rates, device=HOST
    )
    assert not fewer.is_met
    assert fewer.load > 1
    assert "are not met" in fleet_text(fewer)
    assert plan.device_bound <= plan.num_devices


def test_a_free_fleet_uses_more_devices_and_is_less_busy():
    models = {"a": LIGHT, "b": MIDDLE}
    few = plan_fleet_of(models, 3, rates={"a": 20, "b": 20}, device=HOST)
    free = plan_fleet_of(models, 3, rates={"a": 20, "b": 20}, device=HOST, aim="load")
    assert free.load < few.load
    assert free.num_devices > few.num_devices


def test_more_models_than_devices_and_more_than_are_tried_one_by_one():
    models = {f"model{n}": LIGHT for n in range(8)}
    plan = plan_fleet_of(models, 2, rates=dict.fromkeys(models, 3.0), device=HOST)
    assert sorted(name for group in plan.groups for name in group.models) == sorted(models)
    assert not plan.is_proved
    assert 1 <= plan.device_bound <= plan.num_devices <= 2


@pytest.mark.parametrize(
    ("models", "rates", "num_devices", "message"),
    [
        ({}, {}, 2, "needs models"),
        ({"a": LIGHT}, {}, 2, "Without a rate: a"),
        ({"a": LIGHT}, {"a": 1, "b": 2}, 2, "unknown: b"),
        ({"a": LIGHT}, {"a": 0}, 2, "above 0. Received: 0"),
        ({"a": LIGHT}, {"a": float("nan")}, 2, "above 0. Received: nan"),
        ({"a": LIGHT}, {"a": True}, 2, "above 0. Received: True"),
        ({"a": LIGHT}, {"a": 1}, 0, "without an Edge TPU there is nothing"),
        ({"a": LIGHT}, [1], 2, "must be {name: per second}"),
    ],
)
def test_requests_that_make_no_sense_are_refused(models, rates, num_devices, message):
    with pytest.raises(ArgumentError, match=message):
        plan_fleet_of(models, num_devices, rates=rates, device=HOST)


def test_an_unknown_aim_and_an_unknown_model_are_refused():
    with pytest.raises(ArgumentError, match='"devices" or "load"'):
        plan_fleet_of({"a": LIGHT}, 1, rates={"a": 1}, device=HOST, aim="speed")
    plan = plan_fleet_of({"a": LIGHT}, 1, rates={"a": 1}, device=HOST)
    with pytest.raises(ArgumentError, match="No model is called 'b'"):
        plan.group_of("b")


def test_models_that_share_a_device_say_what_switching_would_cost():
    plan = plan_fleet_of({"a": LIGHT, "b": MIDDLE}, 1, rates={"a": 5.0, "b": 5.0}, device=HOST)
    (group,) = plan.groups
    for name, graph in (("a", LIGHT), ("b", MIDDLE)):
        (stage,) = predict(graph, [0] * graph.num_ops, HOST).stages
        assert group.apart_ms[name] == pytest.approx(stage.total_ms + stage.load_ms)
    assert group.apart_ms["b"] > group.inference_ms["b"] + 4 * HOST.link_ms_per_mib * 0.9
    assert "ms apart" in fleet_text(plan)
    alone = plan_fleet_of({"a": LIGHT}, 1, rates={"a": 5.0}, device=HOST)
    assert alone.groups[0].apart_ms == {}
    assert "ms apart" not in fleet_text(alone)


def _with_refused_op():
    """A graph with an op that stops the compiler, between others."""
    image = keras.Input((16, 16, 3))
    tensor = keras.layers.Conv2D(8, 3, activation="gelu")(image)
    return lower(keras.Model(image, keras.layers.Conv2D(8, 3)(tensor)))


def test_a_model_with_an_op_that_the_compiler_refuses_shares_no_device():
    refused = _with_refused_op()
    rates = {"refused": 5.0, "light": 5.0}
    plan = plan_fleet_of({"refused": refused, "light": LIGHT}, 3, rates=rates, device=HOST)
    group = plan.group_of("refused")
    assert group.models == ("refused",)
    assert group.schedule.cpu_stages
    assert group.num_devices == len(group.replicas) - len(group.schedule.cpu_stages)
    assert plan.num_devices == plan.device_bound
    assert "and the host" in fleet_text(plan)
    with pytest.raises(ArgumentError, match=r"too few. refused: .*num_devices=\d+ or more"):
        plan_fleet_of({"refused": refused, "light": LIGHT}, 1, rates=rates, device=HOST)


def test_a_rate_that_nothing_can_meet_is_said():
    plan = plan_fleet_of({"a": HEAVY}, 2, rates={"a": 1e7}, device=HOST)
    assert not plan.is_met
    assert "the rates are not met" in fleet_text(plan)
    assert f"All of them at {100 / plan.load:.2g} % can be" in fleet_text(plan)


def test_no_order_of_compilation_is_better():
    random = np.random.default_rng(0)
    sizes, rates = random.uniform(0.5, 5.0, 5), random.uniform(1.0, 30.0, 5)
    graphs = {f"m{i}": _graph(size, 0.3, num_ops=3) for i, size in enumerate(sizes)}
    uses = FleetUses(graphs, dict(zip(graphs, rates, strict=True)), HOST, 1, 0)

    def spent(order):
        taken, total = 0, 0.0
        for model in order:
            (stage,) = predict(graphs[f"m{model}"], [0, 0, 0], with_less_room(HOST, taken)).stages
            total += rates[model] * stage.total_ms / 1000
            taken += stage.cost.cached_bytes
        return total

    found = min(use.device_load for use in uses.of(0b11111, 1, 1))
    assert found == pytest.approx(min(map(spent, itertools.permutations(range(5)))))
