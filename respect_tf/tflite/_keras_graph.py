"""Whether the layers in a configuration can be connected at all.

Both packages connect a functional model's layers by going round until every call has its inputs.
A call that waits for itself, or for one that never comes, keeps them going round for ever.
"""

from __future__ import annotations

import collections
from typing import Any

from respect_tf._errors import InvalidModelError

Call = tuple[str, int]
"""A layer's name, and which of its calls it is."""

_NO_CALL = -(2**31)  # that no layer has, whatever its first one is


def check_connections(config: dict[str, Any], *, label: str) -> None:
    """Refuse a model whose calls wait for each other.

    Args:
        config: Of a functional model, or of anything else with `layers` inside, which passes.
        label: What to call the file in messages.

    Raises:
        InvalidModelError: Calls wait in a circle, or for calls that are not there.
    """
    layers = config.get("layers")
    if not isinstance(layers, list):
        return
    calls = _calls(layers)
    given: set[Call] = {(name, 0) for name, nodes in calls.items() if not nodes}  # inputs
    first = {name: _first_call(layer, calls[name]) for name, layer in _named(layers)}
    needs: dict[Call, int] = {}
    readers: dict[Call, list[Call]] = collections.defaultdict(list)
    for name, nodes in calls.items():
        for number, node in enumerate(nodes):
            sources = {(source, n - first[source]) for source, n in _references(node, calls)}
            if number:  # calls of a layer are made in their order
                sources.add((name, number - 1))
            needs[name, number] = len(sources)
            for source in sources:
                readers[source].append((name, number))
    ready = [*given, *(call for call, count in needs.items() if count == 0)]
    while ready:
        call = ready.pop()
        needs.pop(call, None)
        for reader in readers.pop(call, ()):
            needs[reader] -= 1
            if needs[reader] == 0:
                ready.append(reader)
    if needs:
        name, number = min(needs)
        raise InvalidModelError(
            f"Call {number} of the layer {name!r:.100} in '{label}' can never be made: it waits "
            "for itself, or for a call that is not there. The file is damaged: save the model "
            "again."
        )


def _named(layers: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and configurations of the layers that have both."""
    named = []
    for layer in layers:
        inner = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(inner, dict):
            name = layer.get("name", inner.get("name"))
            if isinstance(name, str):
                named.append((name, layer))
    return named


def _calls(layers: list[Any]) -> dict[str, list[Any]]:
    """Layers by name, and what each of their calls gets."""
    calls: dict[str, list[Any]] = {}
    for name, layer in _named(layers):
        nodes = layer.get("inbound_nodes")
        calls.setdefault(name, []).extend(nodes if isinstance(nodes, list) else [])
    return calls


def _first_call(layer: dict[str, Any], nodes: list[Any]) -> int:
    """The number of a layer's first call, which in Keras 2 is 1 for models with an input.

    Their own making was number 0. Keras 2 writes calls as lists.
    """
    inner = layer["config"].get("layers")
    first = inner[0] if isinstance(inner, list) and inner else None
    starts_with_input = isinstance(first, dict) and first.get("class_name") == "InputLayer"
    return int(starts_with_input and any(isinstance(node, list) for node in nodes))


def _references(node: Any, calls: dict[str, list[Any]]) -> list[Call]:
    """The calls whose results a call gets: `[layer, call, tensor]` in every format of Keras."""
    found = []
    waiting = [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str) and value[0] in calls:
                numbers = type(value[1]) is int and type(value[2]) is int
                found.append((value[0], value[1] if numbers else _NO_CALL))
            waiting.extend(value)
    return found
