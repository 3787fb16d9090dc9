"""Numbers at the top of modules were measured, or are what they are."""

import ast
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._constant_comments import with_comments
from benchmarks._constant_values import changed, reads
from benchmarks._constants import (
    DEFINITIONS,
    PACKAGE,
    Constant,
    found_constants,
    scaled,
    tuned_constants,
)
from benchmarks._tables import RESULTS
from benchmarks.constants import Effect, effect_of, effects_by_file
from respect_tf.policy import _refine
from respect_tf.scheduling import _ideal_search, _pace

_FOUND = {constant.key for constant in found_constants()}
_TUNED = tuned_constants()
_ROWS = json.loads((RESULTS / "constants.json").read_text())
_AGAIN = "run `python -m benchmarks constants NAME ...` and keep what it writes"


def test_every_definition_is_there_once():
    listed = [key for keys in DEFINITIONS.values() for key in keys]
    assert sorted(set(listed)) == sorted(listed)
    assert set(listed) <= _FOUND


def test_every_tuned_number_was_measured():
    rows = {row["constant"] for row in _ROWS}
    known = {constant.key for constant in _TUNED}
    assert known - rows == set(), f"{_AGAIN}, or list it in benchmarks/_constants.py"
    assert rows - known == set(), f"gone from the package: {_AGAIN}"


def test_its_comment_says_what_was_measured():
    for path, effects in effects_by_file(_ROWS).items():
        text = path.read_text("utf-8")
        assert with_comments(text, effects) == text, f"{path.name}: {_AGAIN}"


def test_comments_are_replaced_and_kept_short():
    source = "# Some.\n_A, _B = 1, 2\n\n_C = 3  # more\n"
    first = with_comments(source, {"_A": "half the same; twice the same", "_B": "x" + 50 * " yy"})
    assert first == (
        "# Some.\n"
        "# benchmarks constants: _A half and twice the same. _B x" + 14 * " yy" + "\n"
        "#  " + 32 * " yy" + "\n"
        "#  " + 4 * " yy" + ".\n"
        "_A, _B = 1, 2\n\n_C = 3  # more\n"
    )
    again = with_comments(first, {"_A": "a", "_B": "a", "_C": "c"})
    assert again == (
        "# Some.\n# benchmarks constants, each: a.\n_A, _B = 1, 2\n\n"
        "# benchmarks constants: c.\n_C = 3  # more\n"
    )


@pytest.mark.parametrize("folder", ["policy", "scheduling", "planning", "training"])
def test_the_benchmark_can_change_it(folder):
    """Nothing else is computed from it when a module is imported."""
    names = {constant.name for constant in _TUNED}
    for path in (PACKAGE / folder).glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                assert not names & _names(node.value, ast.Load), f"{path.name}: {node.lineno}"


def _names(tree, context=ast.Store):
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }


def test_it_is_changed_where_it_is_imported_and_back():
    step = _pace.FIRST_STEP
    with changed(Constant("scheduling._pace", "FIRST_STEP"), 0.5):
        assert _pace.FIRST_STEP == _ideal_search.FIRST_STEP == 0.5
    assert _pace.FIRST_STEP == _ideal_search.FIRST_STEP == step


def test_it_is_changed_where_it_is_a_default_and_back():
    before = _refine.refined_orders.__defaults__
    with changed(Constant("policy._refine", "MORE_ORDERS"), 3):
        assert 3 in _refine.refined_orders.__defaults__
        assert _refine.refined_orders.__defaults__ != before
    assert _refine.refined_orders.__defaults__ == before
    with changed(Constant("scheduling._pace", "_LIMIT_GROWTH"), 2.0):
        assert _pace.Pace(1.0).growth == 2.0
    assert _pace.Pace(1.0).growth != 2.0


def test_its_effect_says_what_other_values_do():
    same = Effect("one", 0.0, 0, 0.0, 0.0, 1.0, 1.0)
    worse = dataclasses.replace(same, case="other", cost=3.0, proofs=-1)
    pairs = [(same, same), (same, worse)]
    assert effect_of(pairs[:1], ("half", "twice")) == "half the same; twice the same"
    assert effect_of(pairs, ("a tenth", "ten times")) == (
        "a tenth the same; ten times +1.50 % cost (worst +3.0), -1 proofs"
    )


def test_what_reads_it_is_found():
    pace = _pace.Pace(1.0)
    wanted = [Constant("scheduling._pace", name) for name in ("_BACK", "_NEAR", "_LEAST_STEP")]
    found = reads(lambda: pace.shorter(1.0), wanted)
    assert [constant.name for constant in found] == ["_BACK"]


@given(st.floats(1e-6, 0.999), st.sampled_from([0.1, 0.5, 2.0, 10.0]))
def test_shares_stay_shares(value, factor):
    assert 0 < scaled(value, factor) < 1
    assert scaled((value, (value, None, True)), factor) == (
        scaled(value, factor), (scaled(value, factor), None, True),
    )  # fmt: skip


@given(st.integers(1, 10**9))
def test_whole_numbers_stay_whole(value):
    assert scaled(value, 2.0) == 2 * value
    assert scaled(value, 0.5) == max(1, value // 2)
