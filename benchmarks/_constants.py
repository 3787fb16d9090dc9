"""The numbers at the top of modules: which were tuned, and which are what they are."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).parents[1] / "respect_tf"
FOLDERS = ("policy", "scheduling", "planning", "training")
_NAME = re.compile(r"_?[A-Z][A-Z0-9_]*")

# What is as small as this, or as near to 1, is what rounding may move, and no more.
_ROUNDING = 1.1e-9

# Numbers that nobody tuned, and why: other ones would be wrong, or be something else.
DEFINITIONS: dict[str, tuple[str, ...]] = {
    "tolerances of HiGHS, of timers and of a status": (
        "scheduling._milp._BOUND_MARGIN",
        "scheduling._milp._COST_TOLERANCE",
        "scheduling._milp_model._WHOLE",
        "scheduling._compiler._TOLERANCE",
        "scheduling._schedule._TOLERANCE",
    ),
    "what number formats hold": (
        "policy._forward.MOST_WEIGHT",
        "policy._forward.WEIGHT_GRID",
        "policy._forward._MOST_STATE",
        "policy._forward._TO_GRID",
        "policy._propose._KEYS",
        "scheduling._compiled_search.MODULUS",
        "scheduling._compiled_search._ENDLESS",
        "scheduling._cut_network._ENDLESS",
        "scheduling._cut_network._FEW_STAGES",
        "scheduling._cut_network._UNITS",
        "scheduling._host_bounds._HALVINGS",
        "scheduling._host_layout._PER_MS",
        "scheduling._item_bounds._MOST_CAPACITY",
        "scheduling._milp._ATTEMPTS",
        "scheduling._milp._FRACTIONS",
        "scheduling._pair_values._PLACES",
        "scheduling._slicing._MAX_BISECTIONS",
    ),
    "guards of memory": (
        "scheduling._least_cut.MOST_CLOSED",
        "scheduling._milp._MAX_OPEN",
        "scheduling._pair_search.MAX_NODES",
        "scheduling._proof._MAX_CELLS",
        "scheduling._search_linear._MAX_CELLS",
        "scheduling._stage_batch._LARGEST",
    ),
    "guards of time": (
        "planning._fleet_uses._MOST_ORDERED",
        "scheduling._item_bounds._MOST_SETS",
        "scheduling._pair_values._TOGETHER",
        "scheduling._pair_values._VALUE_WORK",
        "scheduling._milp._MAX_NODES",
        "scheduling._proof.QUICK_WORK",
        "scheduling._sweep._MAX_STEPS",
    ),
    "what others say: HiGHS, file formats, the device model, the public API": (
        "planning._plan._MOST_DEVICES",
        "policy._propose.MOST_ORDERS",
        "policy._weights._VERSION",
        "scheduling._highs._FEASIBLE",
        "scheduling._host_schedule._AS_GOOD",
    ),
    "what synthetic graphs, labels and validations are": (
        "training._generators._IN_DEGREE",
        "training._generators._MIN_OPS",
        "training._label_shards._CROSS_CHECK",
        "training._label_shards._EXACT_SHARD",
        "training._label_shards._SHARD",
        "training._label_shards._MILP_NODES",
        "training._labels.TRAINING",
        "training._labels.UNPROVED",
        "training._labels.VALIDATION",
        "training._labels.WIDE_MIX",
        "training._labels.WIDE_OPS",
        "training._labels._COSTS",
        "training._labels._INDEX_BITS",
        "training._labels._MAX_BYTES",
        "training._labels._STAGES",
        "training._trainer._HEAD_SEED",
        "training._trainer._LARGE_OPS",
        "training._trainer._LARGE_SEED",
        "training._trainer._NUM_LARGE",
        "training._trainer._POOL_SEED",
        "training._trainer._STRUCTURED_OPS",
    ),
    "as published": (
        "training._pointer.NUM_FEATURES",
        "training._pointer._CLIP",
        "training._pointer._NEVER",
        "training._pointer._PARENTS",
        "training._respect._SIGNIFICANT",
        "training._respect._WARM_UP_DECAY",
    ),
}

# Where half and twice are no sensible values to compare with: these are.
_OTHERS: dict[str, tuple[Any, Any]] = {
    "policy._refine._MOVES_BELOW": (-1.5, -0.5),
    "scheduling._pace._NEAR": (1.25, 2.0),
    "scheduling._schedulers._WINDOWS": ((1, None), (2, 4, None)),
    "scheduling._search_bands._DEPTHS": ((1, 2, 3), (2, 4, 6, 8, 12, 16)),
    "scheduling._search_bands._REACHES": ((0, 1, 10**6), (0, 2, 4, 10**6)),
    "scheduling._search_rounds._HEATS": (
        (0.025, 0.1, 0.05, 0.2, 0.025, 0.2, 0.05, 1.6),
        (0.1, 0.4, 0.2, 0.8, 0.1, 0.8, 0.2, 6.4),
    ),
}


@dataclasses.dataclass(frozen=True)
class Constant:
    """A number, or several, with a name at the top of a module.

    Attributes:
        module: The module within the package, `"scheduling._pace"`.
        name: The name.
    """

    module: str
    name: str

    @property
    def key(self) -> str:
        """Module and name."""
        return f"{self.module}.{self.name}"

    @property
    def value(self) -> Any:
        """The value that the package has."""
        return getattr(self.owner, self.name)

    @property
    def owner(self) -> ModuleType:
        """The module that has it."""
        return importlib.import_module(f"respect_tf.{self.module}")

    @property
    def is_scaled(self) -> bool:
        """Whether other values are parts and multiples of it."""
        return self.key not in _OTHERS

    def others(self, factor: float = 2.0) -> tuple[Any, Any]:
        """A part of the value and a multiple, see `scaled`, or what stands for them."""
        return _OTHERS.get(self.key, (scaled(self.value, 1 / factor), scaled(self.value, factor)))


def found_constants() -> list[Constant]:
    """All that the source of the folders has, tuned or not, but for guards against rounding."""
    found = []
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            for name, value in _assigned(ast.parse(path.read_text("utf-8"))):
                if any(map(_is_number, ast.walk(value))) and not _is_rounding(value):
                    found.append(Constant(f"{folder}.{path.stem}", name))
    return found


def tuned_constants() -> list[Constant]:
    """Those that are no definitions."""
    fixed = {key for keys in DEFINITIONS.values() for key in keys}
    return [constant for constant in found_constants() if constant.key not in fixed]


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names in capitals at the top of a module, and their values."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            names, values = [target], [node.value]
            if isinstance(target, ast.Tuple):
                names = target.elts
                one_each = isinstance(node.value, ast.Tuple)
                values = node.value.elts if one_each else [node.value] * len(names)  # type: ignore[attr-defined]
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and _NAME.fullmatch(name.id):
                    yield name.id, value


def _is_rounding(value: ast.expr) -> bool:
    return any(_is_number(part) and 0 < part.value <= _ROUNDING for part in ast.walk(value))  # type: ignore[attr-defined]


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def scaled(value: Any, factor: float) -> Any:
    """So many times a number, or each of several. What is a share stays one.

    Of numbers just below and just above 1, the distance from 1 is scaled.
    """
    if isinstance(value, tuple):
        return tuple(scaled(part, factor) for part in value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    if isinstance(value, int):
        return max(1, int(value * factor))
    if 0.8 < value < 1.45 and value != 1.0:
        return max(1.0 + (value - 1.0) * factor, 0.1 * value)
    return (1.0 + value) / 2 if 1.0 / factor <= value < 1.0 else value * factor
