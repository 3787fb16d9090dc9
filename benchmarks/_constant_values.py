"""Other values for constants of the package while something runs, and what reads them."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from benchmarks._constants import Constant


@contextlib.contextmanager
def changed(constant: Constant, value: Any) -> Iterator[None]:
    """Let the package have another value, everywhere where it is known by that name."""
    places = list(_places(constant))
    before = constant.value
    try:
        for place in places:
            place(value)
        yield
    finally:
        for place in places:
            place(before)


def _places(constant: Constant) -> Iterator[Any]:
    for module in _users(constant):

        def set_name(value: Any, module: ModuleType = module) -> None:
            setattr(module, constant.name, value)
            _forget(module)

        yield set_name
        for function, parameter in _defaults(module, constant.name):
            yield functools.partial(_set_default, function, parameter)


def _forget(module: ModuleType) -> None:
    """Have functions that keep what they return compute it anew."""
    for cached in vars(module).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def _users(constant: Constant) -> list[ModuleType]:
    """The module that has a constant, and those that import it."""
    users = [constant.owner]
    for name, module in list(sys.modules.items()):
        if name.startswith("respect_tf.") and module not in users and _imports(module, constant):
            users.append(module)
    return users


def _imports(module: ModuleType, constant: Constant) -> bool:
    path = getattr(module, "__file__", None)
    if constant.name not in vars(module) or path is None:
        return False
    return any(
        isinstance(node, ast.ImportFrom) and constant.name in {alias.name for alias in node.names}
        for node in _tree(path).body
    )


def _defaults(module: ModuleType, name: str) -> Iterator[tuple[FunctionType, str]]:
    """Functions of a module, and their parameters, whose default is a constant."""
    for node in _tree(str(module.__file__)).body:
        if isinstance(node, ast.FunctionDef):
            function = inspect.unwrap(getattr(module, node.name))
            given = node.args
            places = [*given.posonlyargs, *given.args]
            pairs = [*zip(places[::-1], given.defaults[::-1], strict=False)]
            pairs += [*zip(given.kwonlyargs, given.kw_defaults, strict=True)]  # type: ignore[list-item]
            for argument, default in pairs:
                if isinstance(default, ast.Name) and default.id == name:
                    yield function, argument.arg
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(field.value, ast.Name)
                    and field.value.id == name
                ):
                    yield getattr(module, node.name).__init__, field.target.id


def _set_default(function: FunctionType, parameter: str, value: Any) -> None:
    if function.__kwdefaults__ and parameter in function.__kwdefaults__:
        function.__kwdefaults__[parameter] = value
        return
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = list(function.__defaults__ or ())
    defaults[names.index(parameter) - len(names)] = value
    function.__defaults__ = tuple(defaults)


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text("utf-8"))


def _read_by_name(constants: Sequence[Constant]) -> dict[str, dict[str, str]]:
    """By file, the names that constants are read by there, and their keys.

    Under `""`, functions whose defaults are constants, as file and qualified name.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for constant in constants:
        for module in _users(constant):
            found[str(module.__file__)][constant.name] = constant.key
            for function, _ in _defaults(module, constant.name):
                code = function.__code__
                if code.co_filename.startswith("<"):  # a dataclass's, which reads it elsewhere, too
                    continue
                place = f"{code.co_filename} {code.co_qualname}"
                known = found[""].get(place, "")
                found[""][place] = f"{known} {constant.key}".strip()
    return found


def reads(run: Callable[[], Any], constants: Sequence[Constant]) -> list[Constant]:
    """Those of the constants that are read while something runs, found by tracing."""
    by_file = _read_by_name(constants)
    reached: set[str] = set()

    @functools.cache
    def spots(code: CodeType) -> dict[int, str]:
        """Where the instructions of some code read which constants; -1 is its beginning."""
        names = by_file.get(code.co_filename, {})
        found = {
            one.offset: names[one.argval]
            for one in dis.get_instructions(code)
            if names and one.opname in ("LOAD_GLOBAL", "LOAD_NAME") and one.argval in names
        }
        default = by_file.get("", {}).get(f"{code.co_filename} {code.co_qualname}")
        return found if default is None else {**found, -1: default}

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        del event, argument
        left = spots(frame.f_code)
        if not left:
            return None
        if -1 in left:
            reached.update(left.pop(-1).split())
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_step

    def on_step(frame: FrameType, event: str, argument: Any) -> Any:
        del argument
        if event == "opcode":
            key = spots(frame.f_code).pop(frame.f_lasti, None)
            if key is not None:
                reached.add(key)
        return on_step

    for module in {id(one.owner): one.owner for one in constants}.values():
        _forget(module)
    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        run()
    finally:
        sys.settrace(before)
    return [one for one in constants if one.key in reached]
