import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import blocked_models
from schedule_reference import graphs, make_graph

from respect_tf.device import ChipCosts
from respect_tf.graph import OpGraph
from respect_tf.scheduling import PeakMemory, Throughput
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideals import IdealNodes, bytes_between, nested
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._pairs import find_nodes, list_ideals
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._stage_batch import stage_parts

MIB = 1 << 20


def all_ideals(graph):
    problem = build_problem(graph, 1, PeakMemory(1.0))
    return problem, IdealNodes.of_rows(problem, list_ideals(problem, 1000, Budget()))


@settings(max_examples=60, deadline=None)
@given(st.data(), graphs(max_ops=7))
def test_pairs_of_ideals_agree_with_the_stages_between_boundaries(data, graph):
    problem, ideals = all_ideals(graph)
    every = np.arange(len(ideals))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=30)))
    allowed = np.resize(allowed, (len(every), len(every)))
    held = ideals.rows
    smaller = (held[:, None] <= held).all(axis=2) & (held[:, None] < held).any(axis=2)
    rows, columns = nested(ideals, allowed)
    assert np.array_equal(np.stack([rows, columns]), np.stack(np.nonzero(smaller & allowed)))
    entering, leaving, _ = bytes_between(ideals, rows, columns, Budget())
    sizes = graph.tensor_bytes
    for row, column, enters, leaves in zip(rows, columns, entering, leaving, strict=True):
        parts = stage_parts(problem, held[row], held[column])
        assert (enters, leaves) == (sizes[parts[1]].sum(), sizes[parts[2]].sum())


def test_pairs_of_ideals_of_very_many_items():
    num_items = 33_000
    steps = np.arange(num_items)
    graph = OpGraph.from_arrays(
        np.ones(num_items, np.int64),
        np.ones(num_items, np.int64),
        np.stack([steps[:-1], steps[1:]], axis=1),
    )
    problem = build_problem(graph, 1, PeakMemory())
    sizes = np.array([0, 1, 32_766, 32_768, num_items])
    ideals = IdealNodes(problem, steps < sizes[:, None])
    rows, columns = nested(ideals, np.ones((5, 5), bool))
    assert np.array_equal(np.stack([rows, columns]), np.stack(np.triu_indices(5, 1)))
    # None of two ideals that each lack the other's last item holds the other one.
    sets = np.ones((2, num_items), bool)
    sets[0, -1] = sets[1, -2] = False
    rows, _ = nested(IdealNodes(problem, sets), np.ones((2, 2), bool))
    assert len(rows) == 0


@settings(max_examples=40, deadline=None)
@given(st.data(), graphs(max_ops=7))
def test_what_is_known_of_ideals_is_known_of_some_of_them(data, graph):
    problem, ideals = all_ideals(graph)
    draw_values = st.lists(
        st.integers(0, 9), min_size=problem.num_items, max_size=problem.num_items
    )
    values = np.array(data.draw(draw_values), np.float64)
    rows = data.draw(st.lists(st.integers(0, len(ideals) - 1), max_size=9))
    members = ideals.rows
    for known in (ideals, ideals.select(np.array(rows, np.int64))):
        held = members if known is ideals else members[rows]
        assert np.array_equal(known.sums(values), held @ values)


def test_no_stage_costs_less_than_the_linear_bounds():
    rng = np.random.default_rng(0)
    edges = [(op, op + 1) for op in range(29)]
    graph = make_graph(
        rng.integers(0, 2 * MIB, 30).tolist(), rng.integers(0, 400_000, 30).tolist(), edges
    )
    for device in ("usb3-pi5", "usb2-pi3", "pcie-m2"):
        problem = build_problem(graph, 3, Throughput(device))
        nodes = find_nodes(problem, Budget())
        pairs = nodes.pairs(np.ones((len(nodes), len(nodes)), bool), Budget())
        costs, *_ = problem.objective.batch_values(nodes.batch(pairs))
        bounds = [one for one in problem.objective.linear_bounds(graph) if not one.is_shared]
        assert bounds
        for bound in bounds:
            sums = nodes.op_sums(bound.ops)
            least = sums[pairs.columns] - sums[pairs.rows] + bound.rest
            assert (least <= costs * (1 + 1e-9)).all()


@settings(max_examples=60, deadline=None)
@given(model=blocked_models(), device=st.sampled_from(["usb3-pi5", "usb2-pi3"]))
def test_no_stage_with_ops_on_the_cpu_costs_less_than_its_bounds(model, device):
    graph = OpGraph.from_tflite(model)
    problem = build_problem(graph, 1, Throughput(device, 3))
    objective = Throughput(device, 3)
    nodes = find_nodes(problem, Budget())
    pairs = nodes.pairs(np.ones((len(nodes), len(nodes)), bool), Budget())
    batch = nodes.batch(pairs)
    values = objective.batch_values(batch)
    for closely in (False, True):
        for least, value in zip(objective.batch_bounds(batch, closely=closely), values):  # noqa: B905
            assert (least <= value * (1 + 1e-9) + 1e-12).all()
    supported = ChipCosts.of(graph, objective.devices[0]).supported
    ops, tensors = graph.reads
    for index in range(0, len(pairs), 1 + len(pairs) // 200):
        inside, entering, leaving = batch.parts(index)
        for bound in objective.linear_bounds(graph):
            if bound.is_shared:
                continue
            if bound.rest and not supported[inside].any():
                continue  # no stage starts
            counted = tensors[bound.counts & np.isin(ops, inside)]
            least = bound.rest + bound.ops[inside].sum() + bound.leave[leaving].sum()
            least += bound.enter[np.intersect1d(entering, counted)].sum()
            assert least <= values[0][index] * (1 + 1e-9)


def test_chains_of_least_weight_agree_with_enumeration():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, columns = np.nonzero(np.triu(rng.random((6, 6)) < 0.8, 1))
        every = np.arange(len(rows))
        costs, loads = rng.integers(0, 20, (2, len(rows))).astype(np.float64)
        chains = PairChains(6, rows, columns, [every, every, every])
        paths = [
            (first, second, third)
            for first in every[rows == 0]
            for second in every[rows == columns[first]]
            for third in every[rows == columns[second]]
            if columns[third] == 5
        ]
        if not paths:
            assert chains.least(loads, np.add) == np.inf
            assert chains.lightest_path(loads) is None
            continue
        totals = {path: (costs[list(path)].max(), loads[list(path)].sum()) for path in paths}
        through = chains.completions(loads, np.add)
        for stage in range(3):
            for pair in every:
                mine = [total[1] for path, total in totals.items() if path[stage] == pair]
                assert through[stage][pair] == min(mine, default=np.inf)
        best = min(max(total) for total in totals.values())
        assert chains.optimum(costs, loads, 1000.0) == best
        lightest = chains.lightest_path(loads)
        assert loads[lightest].sum() == min(total[1] for total in totals.values())
