"""A few small graphs that reach what the constants of schedulers and plans are for."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks._constant_outcomes import Case, Outcome, alone, joined, outcome, planned
from benchmarks._constant_training import training_cases
from benchmarks._policy_suite import (
    LAYER_BYTES,
    RANDOM_BYTES,
    Instance,
    random_instances,
    structured_instances,
)
from respect_tf import (
    Constraints,
    EdgeTpu,
    Latency,
    LinearCost,
    Objective,
    OpGraph,
    PeakMemory,
    plan,
    plan_fleet,
    schedule,
)
from respect_tf.graph.lowering import lower
from respect_tf.planning import cut_within
from respect_tf.scheduling import search

_HOST = "usb3-pi5"
# What longer cases are for: complete search and neighbourhoods; graphs too large for these.
_PLANS = "planning"
_DEEP = "_bands|_pace|_linear|_chain|_ideal_search"
_LARGE = "_rounds|_slicing|_sweep|_ranges|_schedulers|_HASTILY|_QUICKLY|_PATIENCE|_MOST_PROVED"


def cases() -> list[Case]:
    """All of them. Graphs are made when they are first run."""
    return [*_sums(), *_proposals(), *_models(), *_plans(), *_limited(), *training_cases()]


def _sums() -> Iterator[Case]:
    """Objectives that are sums: memory, with and without transfers."""
    for kind, num_ops, numbers in (
        (RANDOM_BYTES, 30, (9, 11)),
        (RANDOM_BYTES, 50, (10,)),
        (RANDOM_BYTES, 100, (3, 8, 11)),
        (LAYER_BYTES, 50, (11,)),
        (LAYER_BYTES, 100, (9, 10)),
    ):
        for number in numbers:
            yield _instance(random_instances(kind, num_ops)[number], "policy")
    for num_ops, numbers in ((50, (0, 5)), (200, (4, 6, 9)), (500, (4, 12))):
        for number in numbers:
            yield _instance(structured_instances(num_ops)[number], "policy")
    # Some tenths of a second each.
    yield _instance(random_instances(RANDOM_BYTES, 50)[9], "policy", only=_DEEP)
    yield _instance(structured_instances(200)[2], "policy", only=r"_bands|_rounds")
    yield _instance(structured_instances(1000)[6], "policy", only=r"_search_|_pace|_schedulers")
    yield _case(
        "random layers, 5,000 ops, K=8", _layers(5000), 8, objective=PeakMemory(1.0), only=_LARGE
    )
    yield _case(
        "random layers, 1,500 ops, K=4", _layers(1500), 4, objective=PeakMemory(1.0),
        only="_schedulers",
    )  # fmt: skip
    yield _case(
        "random layers, 2,500 ops, K=16", _layers(2500), 16, objective=PeakMemory(1.0), only=_LARGE
    )
    yield _instance(structured_instances(1000)[6], "exact", only="_exact|_proof|_milp")
    yield _instance(
        random_instances(RANDOM_BYTES, 50)[9], "exact", only=r"_exact\._M|_proof\.(_LOOP|MAX)"
    )
    yield _instance(random_instances(RANDOM_BYTES, 50)[9], "policy+milp", only="_schedulers|_milp")
    yield _instance(Instance("levels", 14, 5000, 3, 1.0), "milp")
    yield _case("DenseNet121, memory, K=16", _model("DenseNet121"), 16, objective="memory")
    yield _case(
        "DenseNet121, memory and transfers, K=32", _model("DenseNet121"), 32,
        objective=PeakMemory(1.0), only=r"_item_bounds|_room_bounds|_search\.|_order_search",
    )  # fmt: skip
    yield _case(
        "NASNetMobile, memory and transfers, K=8", _model("NASNetMobile"), 8,
        objective=PeakMemory(1.0),
    )  # fmt: skip
    tight = random_instances(RANDOM_BYTES, 50)[3]
    bytes_ = tight.graph().parameter_bytes
    room = Constraints(stage_bytes=float(1.06 * bytes_.sum() / tight.num_stages))
    yield _case("random bytes, 50 ops, little room", tight.graph, 4, constraints=room,
                objective=PeakMemory(1.0))  # fmt: skip
    yield _search(random_instances(RANDOM_BYTES, 100)[9])


def _proposals() -> Iterator[Case]:
    """The policy alone."""
    chosen = [
        *random_instances(RANDOM_BYTES, 50)[12:20],
        *random_instances(LAYER_BYTES, 100)[12:20],
        *structured_instances(50)[::3],
        *structured_instances(200)[::3],
        *structured_instances(500)[::3],
    ]
    graphs = functools.cache(lambda: [instance.graph() for instance in chosen])

    def one_of(one: Instance, graph: OpGraph) -> Outcome:
        graph = dataclasses.replace(graph)
        found = schedule(graph, one.num_stages, "policy-greedy", objective=one.objective)
        return outcome(graph, found, one.objective)

    def run() -> Outcome:
        return joined(itertools.starmap(one_of, zip(chosen, graphs(), strict=True)))

    yield Case(f"policy-greedy, {len(chosen)} graphs", run)


def _models() -> Iterator[Case]:
    """Throughput and latency, which are no sums."""
    four = [f"usb3-{name}" for name in ("pc", "pi5", "pi4", "jetson")]
    two = four[:2]
    for name, num_stages, device in (
        ("DenseNet121", 4, _HOST),
        ("DenseNet121", 6, "usb3"),
        ("InceptionResNetV2", 4, two),
        ("Xception", 5, four),
        ("ResNet50", 16, _HOST),
        ("EfficientNetB0", 4, "usb3"),
        ("InceptionV3", 4, _HOST),
        ("NASNetMobile", 2, _HOST),
    ):
        where = device if isinstance(device, str) else f"{len(device)} hosts"
        title = f"{name}, throughput, {where}, K={num_stages}"
        yield _case(title, _model(name), num_stages, device=device)
    yield _case(
        "NASNetMobile, throughput, 2 hosts, K=4", _model("NASNetMobile"), 4, device=two,
        only="_optima|_cut|_pair_search",
    )  # fmt: skip
    yield _case(
        "NASNetMobile, throughput, usb3, K=4", _model("NASNetMobile"), 4, device="usb3",
        only="_optima",
    )  # fmt: skip
    yield _case(
        "Xception, latency, usb3, K=3", _model("Xception"), 3, objective="latency", device="usb3"
    )
    yield _case(
        "ResNet50, latency, usb3, K=3", _model("ResNet50"), 3, objective="latency", device="usb3",
        only="_optima",
    )  # fmt: skip
    yield _case(
        "InceptionV3, latency at 40 per second, K=4", _model("InceptionV3"), 4,
        objective=Latency(arrivals_per_second=40.0), device=_HOST, only="_under_load",
    )  # fmt: skip
    yield _case("ConvNeXtTiny, throughput, K=4", _model("ConvNeXtTiny"), 4, device=_HOST,
                only="_host")  # fmt: skip
    layers = structured_instances(200)[3]
    yield _case(
        "nasnet, 200 ops, throughput, K=4", layers.graph, 4, device=_HOST,
        only=r"_search\.|_proposals|_cut_bounds|_chain|_pairs\.",
    )  # fmt: skip
    for family, num_ops, num_stages in (
        ("chain", 2000, 8),
        ("chain", 1000, 32),
        ("random layers", 2000, 8),
    ):
        yield _case(
            f"{family}, {num_ops:,} ops, throughput, K={num_stages}", _layers(num_ops, family),
            num_stages, device=_HOST, only=r"_order|_bounds|_stage_batch|_optima|_search\.",
        )  # fmt: skip
    wide = random_instances(LAYER_BYTES, 50)[1]
    yield _case(
        "randwire, 200 ops, memory in pages, K=4", structured_instances(200)[6].graph, 4,
        objective=_Pages(), only=r"_search\.",
    )  # fmt: skip
    yield _case(
        "wide, 50 ops, throughput, K=4", wide.graph, 4, "exact", device=_HOST,
        only="_proof|_exact|_chain",
    )  # fmt: skip


def _plans() -> Iterator[Case]:
    yield _plan("DenseNet121", 4, device=_HOST)
    yield _plan("InceptionV3", 4, device=["usb3-pc", _HOST])
    yield _plan("NASNetMobile", 4, device=_HOST)
    yield _plan("ResNet50", 4, device=_HOST, objective=Latency(arrivals_per_second=30.0))
    yield Case("pictures that are too large", _too_large, only=_PLANS)
    yield Case("fleet of four on 4", _fleet, only=_PLANS)
    yield Case("DenseNet121, cut again", _again, only=_PLANS)


def _limited() -> Iterator[Case]:
    """Schedulers that are stopped by the clock."""
    search_alone = r"_linear|_search\.|_pace|_chain|_proposals"
    yield _instance(
        random_instances(RANDOM_BYTES, 100)[9], "policy", time_limit=0.3, only=search_alone
    )
    yield _instance(structured_instances(1000)[2], "policy", time_limit=0.5, only=search_alone)
    yield _instance(random_instances(RANDOM_BYTES, 50)[9], "exact", time_limit=2.0, only="_exact")
    yield _instance(
        random_instances(RANDOM_BYTES, 50)[9], "policy+milp", time_limit=2.5, only="_schedulers"
    )
    yield _case(
        "NASNetMobile, throughput, usb3, K=4", _model("NASNetMobile"), 4, device="usb3",
        time_limit=0.7, only=r"_optima|_search\.|_chain|_proposals|_cut_bounds",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Pages(Objective):
    """Memory of the largest stage in whole pages, which is no sum and asked stage by stage."""

    page: int = 2**14

    @property
    def name(self) -> str:
        return "memory in pages"

    def stage_cost(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> int:
        num_bytes = int(graph.parameter_bytes[list(ops)].sum())
        return -(-num_bytes // self.page) * self.page

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        return LinearCost(graph.parameter_bytes, exact=False)


def _instance(one: Instance, scheduler: str, **options: Any) -> Case:
    weight = f", weight {one.weight:g}" if one.weight else ""
    title = f"{one.family}, {one.num_ops} ops, K={one.num_stages}{weight}"
    return _case(title, one.graph, one.num_stages, scheduler, objective=one.objective, **options)


def _case(
    title: str,
    make: Callable[[], OpGraph],
    num_stages: int,
    scheduler: str = "policy",
    *,
    only: str = "",
    **options: Any,
) -> Case:
    make = functools.cache(make)

    def run() -> Outcome:
        graph = dataclasses.replace(make())
        found = schedule(graph, num_stages, scheduler, **options, verbose=0)
        return outcome(graph, found, options.get("objective", "throughput"))

    limit = options.get("time_limit")
    how = "" if scheduler == "policy" else f' "{scheduler}",'
    ends = "" if limit is None else f", {limit:g} s"
    return Case(f"{how} {title}{ends}".strip(), run, limit is not None, only)


def _search(one: Instance) -> Case:
    make = functools.cache(one.graph)

    def run() -> Outcome:
        graph = dataclasses.replace(make())
        found = search(graph, one.num_stages, objective=one.objective)
        return outcome(graph, found, one.objective)

    return Case(f"search(), {one.family}, {one.num_ops} ops, K={one.num_stages}", run)


def _plan(name: str, num_devices: int, **options: Any) -> Case:
    make = _model(name)

    def run() -> Outcome:
        return planned(plan(dataclasses.replace(make()), num_devices, **options, verbose=0))

    where = options["device"] if options["device"] == _HOST else "2 hosts"
    under = "" if "objective" not in options else ", latency under load"
    return Case(f"plan of {name}, {where}, {num_devices} devices{under}", run, only=_PLANS)


def _too_large() -> Outcome:
    # A chip of which activations may take all but a little.
    little = dataclasses.replace(
        EdgeTpu.preset("usb2-pi3"), num_tiles=1, tile_bytes=120_000.0, activation_share=1.0,
        activation_cap_mib=110_000 / 2**20,
    )  # fmt: skip
    found = plan(dataclasses.replace(_segmenter()), 1, device=little, verbose=0)
    ways = found.too_large.ways if found.too_large else ()
    times = [1000.0 / way.pictures_per_second for way in ways]
    return alone(
        [found.best.interval_ms, min(times, default=10 * found.best.interval_ms)], found.is_proved
    )


def _fleet() -> Outcome:
    rates = {"DenseNet121": 8.0, "ResNet50": 4.0, "EfficientNetB0": 10.0, "Xception": 2.0}
    graphs = {name: dataclasses.replace(_model(name)()) for name in rates}
    found = plan_fleet(graphs, 4, rates, device=_HOST, aim="load", verbose=0)
    return alone([found.load], found.is_proved)


def _again() -> Outcome:
    graph = dataclasses.replace(_model("DenseNet121")())
    cut = schedule(graph, 4, "slicing", device=_HOST)
    room = 1.2 * float(graph.parameter_bytes.sum()) / 4
    found = cut_within(graph, cut, cut.device, replicas=(1,) * 4, rooms=(room,) * 4)
    return alone([float(found.cost or 0.0)])


@functools.cache
def _model(name: str) -> Callable[[], OpGraph]:
    @functools.cache
    def make() -> OpGraph:
        import keras

        keras.utils.clear_session()
        return lower(getattr(keras.applications, name)(weights=None), trained=True)

    return make


@functools.cache
def _segmenter() -> OpGraph:
    import keras
    from keras import layers

    image = keras.Input((96, 96, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    return lower(keras.Model(image, layers.Conv2D(2, 1)(layers.UpSampling2D(4)(x))), trained=True)


def _layers(num_ops: int, family: str = "random layers") -> Callable[[], OpGraph]:
    def make() -> OpGraph:
        from benchmarks.large import large_graph

        return large_graph(family, num_ops)

    return make
