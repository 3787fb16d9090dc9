"""A small budget of `python -m benchmarks.endurance`, and that it sees what is broken."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from benchmarks._endurance_bytes import ALL_AT_ONCE
from benchmarks._endurance_growth import (
    Growth,
    Held,
    from_elsewhere,
    push_from_threads,
    repeated,
    ticket_pipeline,
)
from benchmarks._endurance_names import same_structure
from benchmarks.endurance import Sizes, promises


def test_a_small_budget_keeps_every_promise(tmp_path):
    sizes = Sizes(pushes=4000, conversions=5, runners=10, threads=2, surroundings=(ALL_AT_ONCE,))
    rows = list(promises(sizes, tmp_path))
    assert [(row.promise, row.found) for row in rows if not row.kept] == []
    assert len(rows) == 10


def test_workers_are_counted():
    pipeline = from_elsewhere(ticket_pipeline())
    before = Held.now()
    with pipeline.runner("cpu", verbose=0):
        during = Held.now()
    assert during.descendants >= len(pipeline.segments)
    assert during.files > before.files
    assert Growth(before, Held.now()).flat(64)


def test_what_grows_is_not_flat():
    held: list[object] = []
    growth = repeated(lambda: held.append(np.ones(2**20)), 20)  # 8 MiB each
    assert growth.mib > 100
    assert not growth.flat(64)
    assert growth.flat(1000)

    stop = threading.Event()

    def leave_a_thread() -> None:
        threading.Thread(target=stop.wait, daemon=True).start()

    growth = repeated(leave_a_thread, 20)
    assert growth.last.threads - growth.first.threads == 18
    assert not growth.flat(1000)
    stop.set()


@pytest.mark.parametrize(("field", "more"), [("threads", 9), ("files", 1), ("descendants", 9)])
def test_more_of_anything_is_not_flat(field, more):
    first = Held(mib=1.0, threads=2, files=3, descendants=4)
    last = Held(**{**vars(first), field: getattr(first, field) + more})
    assert not Growth(first, last).flat(64)
    assert Growth(last, first).flat(64)


class _Mixed:
    """A pipeline whose runner hands out what waits in another order, or something twice."""

    def __init__(self, pipeline, change):
        self.inputs = pipeline.inputs
        self._pipeline, self._change = pipeline, change

    def runner(self, device, **options):
        runner = self._pipeline.runner(device, **options)
        pop, lock, kept = runner.pop, threading.Lock(), []

        def changed():
            with lock:
                return self._change(pop, kept)

        runner.pop = changed
        return runner


def _swapped(pop, kept):
    """Pairs of results, the second one first."""
    if not kept:
        kept += [result for result in (pop(), pop()) if result is not None]
    return kept.pop() if kept else None


def _twice(pop, kept):
    """The first result in the place of the second."""
    result = pop()
    kept.append(result)
    return kept[0] if len(kept) == 2 else result


@pytest.mark.parametrize("change", [_swapped, _twice])
def test_results_out_of_order_or_twice_are_seen(change):
    pipeline = ticket_pipeline()
    assert push_from_threads(pipeline, 800).right
    assert not push_from_threads(_Mixed(pipeline, change), 800).right


def test_an_element_more_or_another_attribute_is_seen():
    page = "<html><style>.a{color:red}</style><p class=x>name</p></html>"
    assert same_structure(page, page.replace("name", "another"))
    for other in ("<b>n</b>ame", "</p><p class=x>name", "<script>name</script>", "<img onerror=x>"):
        assert not same_structure(page, page.replace("name", other))
    assert not same_structure(page, page.replace("class=x", "class=x onclick=y"))
    assert not same_structure(page, page.replace("color:red", "color:red;}*{display:none"))
