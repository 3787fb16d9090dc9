"""Tensor names that the pipeline runner can tell apart."""

from __future__ import annotations

from respect_tf.graph import OpGraph


class TensorNames:
    """Gives every activation tensor of a model a name that is unique, printable ASCII.

    The runner matches tensors by name alone, and pycoral cannot return an output whose name is not
    ASCII. Names that fit already stay; model inputs and outputs get theirs first.
    """

    def __init__(self, graph: OpGraph) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last number tried: a file may use one name often
        self._names: dict[int, str] = {}
        first = [*graph.model_inputs.tolist(), *graph.model_outputs.tolist()]
        for tensor in dict.fromkeys([*first, *range(graph.num_tensors)]):
            if not graph.is_constant[tensor]:
                self._names[tensor] = self.fresh(graph.tensor_names[tensor] or f"tensor_{tensor}")

    def __getitem__(self, tensor: int) -> str:
        return self._names[tensor]

    def fresh(self, wanted: str) -> str:
        """The wanted name, made printable, with a number behind it if it is taken."""
        base = "".join(c if " " <= c <= "~" else f"u{ord(c):04x}" for c in wanted)
        name, number = base, self._numbers.get(base, 0)
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._numbers[base] = number
        self._taken.add(name)
        return name
