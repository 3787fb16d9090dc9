"""What a model's users call its inputs and outputs, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from respect_tf._errors import RespectError
from respect_tf._reporting import Verbosity, report
from respect_tf.graph import OpGraph
from respect_tf.segmentation._cut import outer_tensors
from respect_tf.segmentation._metadata import Interface, Metadata
from respect_tf.segmentation._metadata_reader import read_metadata
from respect_tf.segmentation._segment import TensorSpec


def named_specs(graph: OpGraph, specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """Inputs or outputs of a model by the names that its signature gives them."""
    named: dict[str, TensorSpec] = {}
    for spec in specs:
        name = graph.signature_names.get(spec.tensor, spec.name)
        # A tensor that the model returns twice has one name in the signature.
        named[name if name not in named else spec.name] = spec
    return named


def interface_of(
    content: bytes,
    unpacked: Any,
    graph: OpGraph,
    metadata: Metadata | None,
    *,
    verbose: Verbosity = "auto",
) -> Interface:
    """What the user, or else the model, says about its inputs and outputs, checked.

    Args:
        content: The model.
        unpacked: The same as `read_model` gives it.
        graph: Its op graph.
        metadata: What the user says; None where the model's own counts.
        verbose: From 1, a warning says what is wrong with the model's own, which is left out then.

    Raises:
        ArgumentError: What the user says does not fit the model.
    """
    inputs, outputs = (
        {name: spec.shape for name, spec in named_specs(graph, specs).items()}
        for specs in outer_tensors(graph)
    )
    if metadata is not None:
        return metadata.describe(inputs, outputs)
    try:
        given = read_metadata(content, list(inputs), list(outputs), unpacked=unpacked)
        return Interface() if given is None else given.describe(inputs, outputs)
    except RespectError as error:
        report(f"warning: the model's own metadata is left out: {error}", verbose=verbose)
        return Interface()
