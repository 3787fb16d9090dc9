"""Comments of tuned numbers: what the benchmark of constants says of each, where it stands."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping

_MARK = "# benchmarks constants"
_INDENT = "#   "
_WIDTH = 100
_SAME = "half the same; twice the same", "half and twice the same"


def with_comments(text: str, effects: Mapping[str, str]) -> str:
    """Source whose tuned numbers say what half and twice of them do.

    Args:
        text: The source of a module; what comments say of this now is replaced.
        effects: By name, the column "effect" of the table.
    """
    lines = _without_comments(text.splitlines())
    for node in reversed(ast.parse("\n".join(lines)).body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name) and part.id in effects
            ]
            if names:
                said = textwrap.wrap(
                    _comment({name: effects[name].replace(*_SAME) for name in names}),
                    _WIDTH,
                    subsequent_indent=_INDENT,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                lines[node.lineno - 1 : node.lineno - 1] = said
    return "\n".join(lines) + "\n"


def _without_comments(lines: list[str]) -> list[str]:
    kept: list[str] = []
    is_ours = False
    for line in lines:
        is_ours = line.startswith(_MARK) or (is_ours and line.startswith(_INDENT))
        if not is_ours:
            kept.append(line)
    return kept


def _comment(effects: Mapping[str, str]) -> str:
    first, *others = effects.values()
    if not others:
        return f"{_MARK}: {first}."
    if all(other == first for other in others):
        return f"{_MARK}, each: {first}."
    return f"{_MARK}: {'. '.join(f'{name} {effect}' for name, effect in effects.items())}."
