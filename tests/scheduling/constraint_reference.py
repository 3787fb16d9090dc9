"""Constraints by enumeration of all schedules, for comparison with the solvers."""

import itertools

import numpy as np
from hypothesis import strategies as st
from schedule_reference import stage_parts

from respect_tf.scheduling import Constraints


def all_stages(graph, num_stages):
    """All valid schedules in lexicographic order. int [num_schedules, num_ops]."""
    rows = np.indices((num_stages,) * graph.num_ops).reshape(graph.num_ops, -1).T
    for before, after in graph.edges.tolist():
        rows = rows[rows[:, before] <= rows[:, after]]
    for first, second in graph.colocated.tolist():
        rows = rows[rows[:, first] == rows[:, second]]
    for stage in range(num_stages):
        rows = rows[(rows == stage).any(axis=1)]
    return rows


def keeping(graph, rows, num_stages, constraints):
    """Those of the schedules that keep the constraints."""
    groups = [list(group) for group in constraints.colocated]
    readers = [
        [op for op in range(graph.num_ops) if tensor in graph.inputs_of(op)]
        for tensor in range(graph.num_tensors)
    ]
    for tensor in constraints.uncut_tensors:
        makers = [op for op in range(graph.num_ops) if tensor in graph.outputs_of(op)]
        groups.append(makers + readers[tensor])
    if constraints.colocate_children:
        for op in range(graph.num_ops):
            groups.append(list(itertools.chain(*(readers[t] for t in graph.outputs_of(op)))))
    for group in groups:
        for op in group:
            rows = rows[rows[:, op] == rows[:, group[0]]]
    for op, stage in constraints.pinned.items():
        rows = rows[rows[:, op] == stage]
    if constraints.stage_bytes is not None:
        rooms = np.broadcast_to(np.array(constraints.stage_bytes), (num_stages,))
        for stage, room in enumerate(rooms):
            rows = rows[(rows == stage) @ graph.parameter_bytes <= room]
    return rows


def best_of(graph, rows, num_stages, objective):
    """Cost, crossing bytes and stages of the best of some schedules, `None` if there is none."""
    if len(rows) == 0:
        return None
    bits = 1 << np.arange(graph.num_ops)
    costs, crossings = np.zeros((2, num_stages, len(rows)))
    for stage in range(num_stages):
        keys = np.stack([(rows < stage) @ bits, (rows == stage) @ bits], axis=1)
        _, first, same = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        parts = [stage_parts(graph, rows[row].tolist(), stage) for row in first]
        found = np.array([objective.stage_cost(graph, *part) for part in parts], float)
        moved = np.array([graph.tensor_bytes[[*part[1], *part[2]]].sum() for part in parts])
        costs[stage], crossings[stage] = found[same.ravel()], moved[same.ravel()]
    total = costs.max(axis=0) if objective.combine == "max" else costs.sum(axis=0)
    crossing = crossings.sum(axis=0)
    best = np.lexsort((np.arange(len(rows)), crossing, total))[0]
    return total[best], crossing[best], tuple(rows[best].tolist())


@st.composite
def constraints_for(draw, graph, num_stages):
    """Constraints that are often, but not always, possible to keep."""
    ops = st.integers(0, graph.num_ops - 1)
    total = int(graph.parameter_bytes.sum())
    room = st.integers(total // (num_stages + 1), total)
    groups = st.lists(st.lists(ops, max_size=3), max_size=1)
    return Constraints(
        stage_bytes=draw(
            st.one_of(st.none(), room, st.lists(room, min_size=num_stages, max_size=num_stages))
        ),
        colocated=draw(groups),
        colocate_children=draw(st.integers(0, 3)) == 0,
        pinned=draw(st.dictionaries(ops, st.integers(0, num_stages - 1), max_size=2)),
        uncut_tensors=draw(st.lists(st.integers(0, graph.num_tensors - 1), max_size=1)),
    )
