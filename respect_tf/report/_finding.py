"""A line of what `respect-tf doctor` says."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Status = Literal["ok", "missing", "optional"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        name: What was looked for.
        status: "ok", "missing" (needed), or "optional" (missing, but everything else works).
        found: What was found: a version, a path, or what is wrong.
        remedy: What to do; empty if all is well.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as a dict."""
        return dataclasses.asdict(self)
