"""Nests of dicts, lists and tuples, as Keras models take and return them.

Dicts are walked in the order of their sorted keys, as Keras and TensorFlow do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """One tensor of a model's interface.

    Attributes:
        name: Its own name, None where it has none.
        shape: None where the rank is unknown, None in it where a size is.
        dtype: numpy's name of the element type.
    """

    name: str | None
    shape: tuple[int | None, ...] | None
    dtype: str


def leaves(structure: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """The leaves of a nest, each with its path of keys and positions."""
    if isinstance(structure, Mapping):
        children: list[tuple[str | int, Any]] = [(k, structure[k]) for k in sorted(structure)]
    elif isinstance(structure, (list, tuple)):
        children = list(enumerate(structure))
    else:
        return [((), structure)]
    return [((key, *path), leaf) for key, child in children for path, leaf in leaves(child)]


def map_leaves(function: Callable[[Any], Any], structure: Any) -> Any:
    """A nest of the same form, with `function` applied to each leaf in the order of `leaves`."""
    if isinstance(structure, Mapping):
        return {key: map_leaves(function, structure[key]) for key in sorted(structure)}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(map_leaves(function, child) for child in structure))
    if isinstance(structure, (list, tuple)):
        mapped = [map_leaves(function, child) for child in structure]
        return tuple(mapped) if isinstance(structure, tuple) else mapped
    return function(structure)


def leaf_names(structure: Any, prefix: str) -> list[str]:
    """One unique name per leaf, in the order of `leaves`.

    Keys of dicts come first, because callers use them; then the leaf's own name; then `prefix`
    with the leaf's number, without it for a single leaf.
    """
    flat = leaves(structure)
    names: list[str] = []
    for number, (path, leaf) in enumerate(flat):
        own = getattr(leaf, "name", None) if isinstance(leaf, Leaf) else None
        if any(isinstance(key, str) for key in path):
            name = "_".join(map(str, path))
        elif own:
            name = own
        else:
            name = prefix if len(flat) == 1 else f"{prefix}_{number}"
        unique, copies = name, 1
        while unique in names:
            unique, copies = f"{name}_{copies}", copies + 1
        names.append(unique)
    return names
