from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._pace import Pace, part_of


def test_steps_grow_fast_while_limits_cost_little():
    step = 10.0

    def grown(work):
        return Pace(step).after(work).step / step

    assert 1 < grown(10_000_000) == grown(100_000) < grown(1_000)


def test_after_too_much_work_steps_are_shorter_and_may_take_more():
    pace = Pace(10.0, work=1e6)
    shorter = pace.shorter(10.0)
    assert shorter.step < pace.step
    budget = Budget(work=1e12)
    assert part_of(budget, shorter)[0].work == 2 * part_of(budget, pace)[0].work
    # From then on they grow slowly, whatever they take.
    assert shorter.after(0).step / shorter.step < pace.after(0).step / pace.step
    assert not pace.is_over(1000.0)
    assert Pace(1e-9).is_over(1000.0)


def test_a_limit_leaves_some_of_much_work_and_the_last_one_is_said_to_be():
    part, is_last = part_of(Budget(work=1e9, cells=7), Pace(1.0, work=1e6))
    assert (part.work, part.cells, is_last) == (16e6, 7, False)
    part, is_last = part_of(Budget(work=1e9, spent=0.999e9), Pace(1.0, work=1e6))
    assert (part.work, is_last) == (1e6, True)
    assert part_of(Budget(deadline=7.0), Pace(1.0))[0].deadline == 7.0
