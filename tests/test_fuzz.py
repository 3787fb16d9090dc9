"""A fixed number of mutants of every kind of file keeps the promise; what breaks it is noticed."""

import sys

import pytest

from benchmarks.fuzz import _child, _run
from benchmarks.fuzz._entries import ENTRIES, Entry
from respect_tf import RespectError

_MUTANTS = 40  # of each entry; `python -m benchmarks.fuzz` is for more
_LIMIT = 600  # seconds: what a slow machine may take for one


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENTRIES))
def test_mutants_end_in_an_error_of_ours_or_are_accepted(name):
    found = list(_run.run(name, 0, range(_MUTANTS), limit=_LIMIT, own=True))
    assert [one.number for one in found] == list(range(_MUTANTS))
    faults = [
        f"python -m benchmarks.fuzz --entry {name} --seed 0 --number {one.number} --own: {one}"
        for one in found
        if one.outcome in _run.FAULTS
    ]
    assert not faults
    assert any(one.outcome == "refused" for one in found)


@pytest.mark.parametrize("name", ["tflite", "folder", "log", "csv", "stages", "samples", "labels"])
def test_a_mutant_is_the_same_every_time_and_no_other_one(name):
    entry = ENTRIES[name]
    seeds = entry.seeds()[:1]
    made = [entry.mutant(0, number, seeds) for number in range(6)]
    assert made == [entry.mutant(0, number, seeds) for number in range(6)]
    assert sum(one != seeds[0] for one in made) >= 5
    assert made != [entry.mutant(1, number, seeds) for number in range(6)]


# Says that it begins with each number that it is given, and does what it is told with number 1.
_STAND_IN = """
import json, os, signal, sys
given = json.loads(sys.argv[1])
say = lambda **line: os.write(given["pipe"], json.dumps(line).encode() + bytes([10]))
say(outcome="accepted", detail="")
for number in given["numbers"]:
    say(begin=number)
    if number == 1:
        {fault}
    say(number=number, outcome="refused", detail="", seconds=0.5, peak=3)
"""


@pytest.mark.parametrize(
    ("fault", "limit", "outcome", "detail"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", _LIMIT, "death", "exit code -11"),
        ("os._exit(3)", _LIMIT, "death", "exit code 3"),
        ("signal.pause()", 0.2, "hang", "nothing for 0.2 s"),
    ],
)
def test_a_death_and_a_hang_are_noticed_and_the_rest_goes_on(
    monkeypatch, fault, limit, outcome, detail
):
    stand_in = _STAND_IN.format(fault=fault)
    monkeypatch.setattr(_run, "_CHILD", (sys.executable, "-c", stand_in))
    found = list(_run.run("log", 0, range(4), limit=limit))
    assert [one.number for one in found] == [0, 1, 2, 3]
    assert [one.outcome for one in found] == ["refused", outcome, "refused", "refused"]
    assert found[1].detail == detail


def test_a_process_that_ends_between_mutants_is_an_error(monkeypatch):
    monkeypatch.setattr(_run, "_CHILD", (sys.executable, "-c", "import sys; sys.exit(5)"))
    with pytest.raises(RuntimeError, match="ended with 5"):
        list(_run.run("log", 0, range(4), limit=_LIMIT))


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(None, "accepted"), (RespectError("no"), "refused"), (KeyError("no"), "raw"),
     (RecursionError("no"), "raw"), (KeyboardInterrupt(), "raw")],
)  # fmt: skip
def test_only_errors_of_ours_are_refusals(tmp_path, raised, outcome):
    seen = []

    def open_it(folder, work):
        seen.append((folder / "a/b").read_bytes())
        if raised is not None:
            raise raised

    entry = Entry("odd", 1, list, open_it)
    assert _child._attempt(entry, {"a/b": b"x"}, tmp_path)["outcome"] == outcome
    assert seen == [b"x"]
    assert not list(tmp_path.iterdir())
