import subprocess
import sys

import numba

from respect_tf.schedule import _local_moves
from respect_tf.schedule._compiled import compiled, is_on_disk


def add_one(number):
    return number + 1


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(monkeypatch):
    honest = numba.njit

    def without_folder(function=None, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return honest(function) if function is not None else without_folder

    monkeypatch.setattr(numba, "njit", without_folder)
    assert compiled(add_one)(3) == 4


def test_what_was_never_compiled_is_not_on_disk():
    assert not is_on_disk(add_one)


def test_moves_are_found_on_disk_by_the_next_process():
    code = (
        "from respect_tf.graph import random_graph;"
        "from respect_tf.schedule import PeakMemory, _local, _local_moves, improve, schedule;"
        "_local._ROUNDS = 1; _local_moves.compile_moves();"
        "g = random_graph('wide', 40, 0);"
        "improve(g, schedule(g, 3, 'slicing', objective=PeakMemory(1.0)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    if not _local_moves.is_compiled():
        assert is_on_disk(_local_moves.search)
