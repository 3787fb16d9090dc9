"""An op graph as TF-GNN's `GraphTensor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph._features import GRAPH_FEATURES, OP_FEATURES, GraphFeatures, graph_features
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph._tfgnn import load_tfgnn

OP_SET, FORWARD, BACKWARD, FEATURE, NUM_STAGES = "op", "feeds", "fed_by", "features", "num_stages"


def to_graph_tensor(
    graph: OpGraph,
    num_stages: int,
    *,
    op_costs: npt.ArrayLike | None = None,
    transfer_cost: float = 0.0,
) -> Any:
    """See `OpGraph.to_graph_tensor`."""
    features = graph_features(graph, num_stages, op_costs=op_costs, transfer_cost=transfer_cost)
    return graph_tensor_of(features, num_stages)


def graph_tensor_of(
    features: GraphFeatures, num_stages: int, labels: dict[str, npt.NDArray[Any]] | None = None
) -> Any:
    """Pack features, and what else is known of each op, into a `GraphTensor` of one graph."""
    return merged_graph_tensor([features], [num_stages], labels)


def merged_graph_tensor(
    graphs: Sequence[GraphFeatures],
    num_stages: Sequence[int],
    labels: dict[str, npt.NDArray[Any]] | None = None,
) -> Any:
    """Pack several graphs into one scalar `GraphTensor` whose components they are.

    Args:
        graphs: Their features.
        num_stages: The number of stages of each.
        labels: Further op features, each [number of all ops].
    """
    tfgnn = load_tfgnn()
    num_ops = np.array([len(features.ops) for features in graphs], np.int32)
    num_edges = np.array([len(features.edges) for features in graphs], np.int32)
    first_op = np.repeat(np.cumsum(num_ops) - num_ops, num_edges)[:, None]
    edges = np.concatenate([features.edges for features in graphs]) + first_op.astype(np.int32)

    def edge_set(source: int) -> Any:
        adjacency = tfgnn.Adjacency.from_indices(
            (OP_SET, edges[:, source]), (OP_SET, edges[:, 1 - source])
        )
        return tfgnn.EdgeSet.from_fields(sizes=num_edges, adjacency=adjacency)

    return tfgnn.GraphTensor.from_pieces(
        context=tfgnn.Context.from_fields(
            features={
                FEATURE: np.stack([features.graph for features in graphs]),
                NUM_STAGES: np.array(num_stages, np.int32),
            }
        ),
        node_sets={
            OP_SET: tfgnn.NodeSet.from_fields(
                sizes=num_ops,
                features={
                    FEATURE: np.concatenate([features.ops for features in graphs]),
                    **(labels or {}),
                },
            )
        },
        edge_sets={FORWARD: edge_set(0), BACKWARD: edge_set(1)},
    )


def graph_tensor_spec(labels: dict[str, Any] | None = None, *, single: bool = False) -> Any:
    """The spec of a scalar `GraphTensor` of one or more merged graphs, of any sizes.

    Args:
        single: Of exactly one graph, as files hold them.
        labels: TensorFlow dtypes of further op features, each [num_ops].
    """
    import tensorflow as tf

    tfgnn = load_tfgnn()
    indices = tf.TensorSpec([None], tf.int32)
    num_graphs = 1 if single else None
    sizes = tf.TensorSpec([num_graphs], tf.int32)
    op_features = {FEATURE: tf.TensorSpec([None, len(OP_FEATURES)], tf.float32)}
    for name, dtype in (labels or {}).items():
        op_features[name] = tf.TensorSpec([None], dtype)

    def edge_set() -> Any:
        return tfgnn.EdgeSetSpec.from_field_specs(
            sizes_spec=sizes,
            adjacency_spec=tfgnn.AdjacencySpec.from_incident_node_sets(OP_SET, OP_SET, indices),
        )

    return tfgnn.GraphTensorSpec.from_piece_specs(
        context_spec=tfgnn.ContextSpec.from_field_specs(
            features_spec={
                FEATURE: tf.TensorSpec([num_graphs, len(GRAPH_FEATURES)], tf.float32),
                NUM_STAGES: sizes,
            }
        ),
        node_sets_spec={
            OP_SET: tfgnn.NodeSetSpec.from_field_specs(sizes_spec=sizes, features_spec=op_features)
        },
        edge_sets_spec={FORWARD: edge_set(), BACKWARD: edge_set()},
    )


def schema_text() -> str:
    """The schema of `to_graph_tensor`, as TF-GNN's `GraphSchema` in text form."""
    from google.protobuf import text_format  # type: ignore[import-untyped, unused-ignore]

    schema = load_tfgnn().create_schema_pb_from_graph_spec(graph_tensor_spec(single=True))
    return str(text_format.MessageToString(schema))
