"""When a pipeline was made, with which versions and options: a line for reports and folders."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import sys
from collections.abc import Mapping
from typing import Any

from respect_tf.device import EdgeTpu, Hosts
from respect_tf.scheduling import Schedule

_PACKAGES = ("tensorflow", "keras", "numpy")
_EPOCH = "SOURCE_DATE_EPOCH"  # of reproducible-builds.org


def provenance(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A line such as `"2026-03-01 by respect_tf 0.2.0, tensorflow 2.21.0; num_devices=4"`.

    The date is that of the environment variable SOURCE_DATE_EPOCH, in seconds, where it is set.

    Args:
        options: What was asked for.
        defaults: What needs no mention.
    """
    from respect_tf import __version__

    versions = [f"respect_tf {__version__}"]
    versions += [f"{name} {installed_version(name) or 'unknown'}" for name in _PACKAGES]
    asked = [
        f"{name}={_shown(value)}" for name, value in options.items() if value != defaults[name]
    ]
    return "; ".join([f"{_today()} by {', '.join(versions)}", ", ".join(asked) or "no options"])


def installed_version(package: str) -> str | None:
    """A package's version; that of its module where it came by another name (tensorflow-cpu)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(package), "__version__", None)


def _today() -> str:
    given = os.environ.get(_EPOCH, "")
    now = datetime.datetime.now(datetime.timezone.utc)
    if given.isdecimal() and len(given) < 12:
        now = datetime.datetime.fromtimestamp(int(given), datetime.timezone.utc)
    return now.date().isoformat()


def _shown(value: Any) -> str:
    """An option as a call would have it, as far as a line has room for that."""
    if isinstance(value, str | int | float | bool):
        return repr(value).replace("'", '"')
    if isinstance(value, Schedule):
        return "a schedule"
    if isinstance(value, EdgeTpu | Hosts):
        return _shown(value.name)
    return type(value).__name__
