"""Subpackages that share their name with a public function.

`respect_tf.schedule` and `respect_tf.segment` are folders and, in the public API, functions.
Python binds a subpackage to its parent whenever anything imports it, which would hide the
function; a module that can be called is both, in every import order.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any


def make_callable(module_name: str, function: Callable[..., Any]) -> None:
    """Let `module_name` be called like `function`, with its signature and docstring."""

    class CallableModule(types.ModuleType):
        __signature__ = inspect.signature(function)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    CallableModule.__call__.__doc__ = function.__doc__
    module = sys.modules[module_name]
    module.__class__ = CallableModule
