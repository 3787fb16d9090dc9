"""Moves of items across stage borders, with the cost of the stages kept up to date.

The functions are plain Python that numba can compile: small problems run them as they are, on
lists, large ones compiled, on arrays, with the same result to the last bit. Call them through the
module, where `compile_moves` replaces them.
"""

from __future__ import annotations

from respect_tf._compiled import compiled, is_on_disk
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._local_state import Network, State
from respect_tf.scheduling._problem import Floats

MODULUS = 2**31 - 1  # of Lehmer's random numbers, whose states are 1 to MODULUS - 1


def shift(network: Network, state: State, item: int, step: int) -> None:
    """Move an item into the stage after (`step` 1) or before (-1) its own.

    Whatever it reads has to be in that stage or an earlier one, what reads it in a later one or
    that one.
    """
    stages, num_items, filled, op_costs, entering, leaving, reading, later = state
    num_stages = len(num_items)
    here = stages[item]
    there = here + step
    stages[item] = there
    num_items[here] -= 1
    num_items[there] += 1
    filled[here] -= network.item_bytes[item]
    filled[there] += network.item_bytes[item]
    op_costs[here] -= network.op_costs[item]
    op_costs[there] += network.op_costs[item]
    leaving[here] -= network.outputs[item]
    leaving[there] += network.outputs[item]
    offsets, values = network.read
    for place in range(offsets[item], offsets[item + 1]):
        tensor = values[place]
        size = network.sizes[tensor]
        maker = network.makers[tensor]
        made_in = stages[maker] if maker >= 0 else -1
        row = tensor * num_stages
        reading[row + here] -= 1
        reading[row + there] += 1
        if made_in < here and reading[row + here] == 0:
            entering[here] -= size
        if made_in < there and reading[row + there] == 1:
            entering[there] += size
        # One reader more or less in stages after the maker's: was or is it the only one?
        if made_in == here and step > 0:
            later[tensor] += 1
            if network.leaves[tensor] and later[tensor] == 1:
                leaving[made_in] += size
        elif made_in == there and step < 0:
            later[tensor] -= 1
            if network.leaves[tensor] and later[tensor] == 0:
                leaving[made_in] -= size
    offsets, values = network.made
    for place in range(offsets[item], offsets[item + 1]):
        tensor = values[place]
        size = network.sizes[tensor]
        if network.leaves[tensor] and later[tensor] > 0:
            leaving[here] -= size
        readers = reading[tensor * num_stages + max(here, there)]
        if readers > 0:
            # They have the maker beside them now, or no longer.
            entering[max(here, there)] -= step * size
            later[tensor] -= step * readers
        if network.leaves[tensor] and later[tensor] > 0:
            leaving[there] += size


def closure(network: Network, stages: Ints, item: int, step: int, found: Ints) -> int:
    """An item and what has to move with it into the next stage: what reads it in its own stage.

    Args:
        network: The problem.
        stages: Stages of the items.
        item: The item.
        step: 1 into the stage after, -1 into the one before: then it is what the item reads.
        found: Is filled with items, in an order in which they can be moved one by one.

    Returns:
        Their number; 0 if there are more than fit into `found`.
    """
    offsets, values = network.after if step > 0 else network.before
    found[0] = item
    count, done = 1, 0
    while done < count:
        here = found[done]
        done += 1
        for place in range(offsets[here], offsets[here + 1]):
            other = values[place]
            if stages[other] != stages[item]:
                continue
            known = False
            for index in range(count):
                known = known or found[index] == other
            if not known:
                if count == len(found):
                    return 0
                found[count] = other
                count += 1
    # Items are numbered topologically: the last first on the way forward, the first first back.
    for index in range(1, count):
        moved = found[index]
        place = index
        while place > 0 and (found[place - 1] - moved) * step < 0:
            found[place] = found[place - 1]
            place -= 1
        found[place] = moved
    return count


def potential(state: State, enter: float, leave: float, scale: float) -> float:
    """What the search lowers: the sum over stages of (cost / scale) ** 8.

    It falls with the dearest stage, and where that one stays as it is, with the others. Scale 0
    stands for the plain sum of costs.
    """
    total = 0.0
    for stage in range(len(state.num_items)):
        cost = state.op_costs[stage] + enter * state.entering[stage] + leave * state.leaving[stage]
        if scale > 0:
            cost /= scale
            cost *= cost
            cost *= cost
            cost *= cost
        total += cost
    return total


def propose(
    network: Network, state: State, random: int, found: Ints, others: Ints
) -> tuple[int, int, int, int]:
    """Make a random move: a closure one stage on or back, half the time with one in return.

    Args:
        network: The problem.
        state: Is changed.
        random: State of the random numbers (Lehmer's, with the multiplier 48271).
        found: Is filled with the items that moved by the step.
        others: Is filled with the items that moved in return.

    Returns:
        The state of the random numbers, how many items moved and how many in return, and the step.
        No item moved where the first item drawn cannot.
    """
    stages, num_items = state.stages, state.num_items
    random = random * 48271 % MODULUS
    item = random % len(stages)
    random = random * 48271 % MODULUS
    step = 1 - 2 * (random // 8 % 2)
    both = random // 16 % 2 == 1
    here = stages[item]
    there = here + step
    if there < 0 or there >= len(num_items):
        return random, 0, 0, step
    count = closure(network, stages, item, step, found)
    if count == 0 or (count >= num_items[here] and not both):
        return random, 0, 0, step
    for index in range(count):
        shift(network, state, found[index], step)
    back = 0
    if both:
        for _ in range(8):
            random = random * 48271 % MODULUS
            other = random % len(stages)
            if stages[other] == there:
                back = closure(network, stages, other, -step, others)
                break
        for index in range(back):
            shift(network, state, others[index], -step)
    fits = min(num_items[here], num_items[there]) > 0
    fits = fits and state.filled[here] <= network.rooms[here]
    fits = fits and state.filled[there] <= network.rooms[there]
    for index in range(count):
        fits = fits and network.earliest[found[index]] <= there <= network.latest[found[index]]
    for index in range(back):
        fits = fits and network.earliest[others[index]] <= here <= network.latest[others[index]]
    if not fits:
        undo(network, state, (count, back, step), found, others)
        count = back = 0
    return random, count, back, step


def undo(
    network: Network, state: State, move: tuple[int, int, int], found: Ints, others: Ints
) -> None:
    """Take a move of `propose` back."""
    count, back, step = move
    for index in range(back):
        shift(network, state, others[back - 1 - index], step)
    for index in range(count):
        shift(network, state, found[count - 1 - index], -step)


def search(
    network: Network,
    state: State,
    linear: tuple[float, float, float],
    random: int,
    num_moves: int,
    history: Floats,
    buffers: tuple[Ints, Ints, Ints],
) -> int:
    """Late acceptance: a move stays if it is no worse than now, or than some moves ago.

    Burke and Bykov, "The late acceptance hill-climbing heuristic", 2017.

    Args:
        network: The problem.
        state: The schedule to begin with; is changed.
        linear: Cost per byte that enters and that leaves, and the scale of `potential`.
        random: State of the random numbers.
        num_moves: How many moves to try.
        history: The last potentials, as many as a move may look back.
        buffers: The stages of the best schedule, which are changed when a better one is found, and
            two arrays for `propose`.

    Returns:
        The state of the random numbers.
    """
    enter, leave, scale = linear
    best_stages, found, others = buffers
    best_cost, best_crossing = total_cost(state, enter, leave, scale)
    now = potential(state, enter, leave, scale)
    for number in range(num_moves):
        random, count, back, step = propose(network, state, random, found, others)
        place = number % len(history)
        if count > 0:
            after = potential(state, enter, leave, scale)
            if after <= now or after <= history[place]:
                now = after
                cost, crossing = total_cost(state, enter, leave, scale)
                if cost < best_cost or (cost == best_cost and crossing < best_crossing):
                    best_cost, best_crossing = cost, crossing
                    for item in range(len(best_stages)):
                        best_stages[item] = state.stages[item]
            else:
                undo(network, state, (count, back, step), found, others)
        history[place] = min(now, history[place])
    return random


def total_cost(state: State, enter: float, leave: float, scale: float) -> tuple[float, float]:
    """Cost and crossing bytes of a schedule; scale 0 stands for objectives that are sums."""
    total = crossing = 0.0
    for stage in range(len(state.num_items)):
        cost = state.op_costs[stage] + enter * state.entering[stage] + leave * state.leaving[stage]
        total = max(total, cost) if scale > 0 else total + cost
        crossing += state.entering[stage] + state.leaving[stage]
    return total, crossing


# In this order: what is compiled first is called by what follows.
_COMPILED = ("shift", "closure", "potential", "undo", "total_cost", "propose", "search")


def compile_moves() -> None:
    """Compile the functions of this module, for all later calls; kept on disk where possible.

    From then on they take arrays, and lists no longer.
    """
    for name in () if is_compiled() else _COMPILED:
        globals()[name] = compiled(globals()[name])


def is_compiled() -> bool:
    """Whether `compile_moves` was called."""
    return hasattr(search, "py_func")


def is_soon_compiled() -> bool:
    """Whether `compile_moves` will take a second or less: the results lie on disk."""
    return is_compiled() or is_on_disk(search)
