"""The network, in TF-GNN: from a graph to priorities and a place in the pipeline of each op."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph._features import FIRST_RANK, GRAPH_FEATURES
from respect_tf.graph._graph_tensor import (
    BACKWARD,
    FEATURE,
    FORWARD,
    NUM_STAGES,
    OP_SET,
    graph_tensor_spec,
)
from respect_tf.graph._structural import ORDERS
from respect_tf.graph._tfgnn import load_tf_keras, load_tfgnn
from respect_tf.policy._forward import Forward, priorities_of


@dataclasses.dataclass(frozen=True)
class NetworkSize:
    """How large a network is.

    Attributes:
        units: Width of the states of ops and of the graph.
        rounds: How often messages are passed.
    """

    units: int = 48
    rounds: int = 4

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name} must be a whole number, 1 or more. Got: {value!r}.")


def build_network(size: NetworkSize = NetworkSize()) -> Any:
    """Make the network with fresh weights.

    In each round every op receives messages from the ops that it reads from, from its readers (the
    mean and the maximum of each) and the state of the graph, then the graph's state is renewed from
    the mean and the maximum of the ops' states. Then the graph's state chooses among the structural
    orders, and the ops' states say by how much each op moves in each of them: with fresh weights by
    nothing, and the order with the best quick cut (`GRAPH_FEATURES`) is chosen. Weights have names,
    `"round_0_feeds/kernel"` and so on, which files of weights use.

    Args:
        size: Its size.

    Returns:
        A `tf_keras.Model` that takes a scalar `GraphTensor` of one or more graphs
        (`OpGraph.to_graph_tensor`) and returns the four tensors of a `Forward`, with the gate as
        float32 [num_graphs, num_orders].
    """
    tfgnn, tf_keras = load_tfgnn(), load_tf_keras()
    layers, units = tf_keras.layers, size.units
    hidden = tfgnn.HIDDEN_STATE

    def dense(
        name: str, activation: str | None = "relu", width: int = units, **options: Any
    ) -> Any:
        return layers.Dense(width, activation, name=name, **options)

    graph = given = layers.Input(type_spec=graph_tensor_spec())

    encode_ops, encode_graph = dense("encode_op"), dense("encode_graph")
    graph = tfgnn.keras.layers.MapFeatures(
        node_sets_fn=lambda pieces, node_set_name: {hidden: encode_ops(pieces[FEATURE])},
        context_fn=lambda context: {hidden: encode_graph(context[FEATURE])},
    )(graph)
    for number in range(size.rounds):
        name = f"round_{number}"
        messages = {
            edges: tfgnn.keras.layers.SimpleConv(
                dense(f"{name}_{edges}"), "mean|max_no_inf", receiver_tag=tfgnn.TARGET
            )
            for edges in (FORWARD, BACKWARD)
        }
        renew_op = tf_keras.Sequential(
            [
                dense(f"{name}_op_inner"),
                dense(f"{name}_op_outer", None),
            ],
            name=f"{name}_op",
        )
        graph = tfgnn.keras.layers.GraphUpdate(
            node_sets={
                OP_SET: tfgnn.keras.layers.NodeSetUpdate(
                    messages,
                    tfgnn.keras.layers.ResidualNextState(renew_op, activation="relu"),
                    context_input_feature=hidden,
                )
            },
            context=tfgnn.keras.layers.ContextUpdate(
                {OP_SET: tfgnn.keras.layers.Pool(tfgnn.CONTEXT, "mean|max_no_inf")},
                tfgnn.keras.layers.NextStateFromConcat(dense(f"{name}_graph")),
            ),
        )(graph)
    states, whole = graph.node_sets[OP_SET][hidden], graph.context[hidden]
    features, of_graph = given.node_sets[OP_SET][FEATURE], given.context[FEATURE]
    broadcast = tfgnn.broadcast_context_to_nodes(graph, OP_SET, feature_name=hidden)
    inner = dense("head_inner")(layers.Concatenate()([states, features, broadcast]))
    places = dense("head_outer", None, 2)(layers.Concatenate()([inner, features]))
    residual = dense("residual", None, len(ORDERS), kernel_initializer="zeros")(inner)
    num_stages = tfgnn.broadcast_context_to_nodes(given, OP_SET, feature_name=NUM_STAGES)
    priorities = priorities_of(
        residual, features[:, FIRST_RANK:], layers.Lambda(_as_column)(num_stages)
    )
    gate_inner = dense("gate_inner")(layers.Concatenate()([whole, of_graph]))
    gate = dense(
        "gate", None, len(ORDERS), kernel_initializer=tf_keras.initializers.Constant(_start(units))
    )(layers.Concatenate()([gate_inner, of_graph]))
    return tf_keras.Model(given, Forward(priorities, places, gate, states), name="policy")


def _start(units: int) -> npt.NDArray[np.float32]:
    """The kernel of a gate that opens for the best quick cut. [units + graph features, orders]."""
    kernel = np.zeros((units + len(GRAPH_FEATURES), len(ORDERS)), np.float32)
    for column, name in enumerate(ORDERS):
        for feature, slope in (("bottleneck", -10.0), ("heaviest", -2.0)):
            kernel[units + GRAPH_FEATURES.index(f"{name}_{feature}"), column] = slope
    return kernel


def _as_column(num_stages: Any) -> Any:
    import tensorflow as tf

    return tf.cast(num_stages, tf.float32)[:, None]


def named_weights(network: Any) -> dict[str, Any]:
    """The weights of a network as numpy arrays, float32, by `"LAYER/kernel"` and `"LAYER/bias"`."""
    named = {}
    for weight in network.weights:
        layer, kind = weight.name.removesuffix(":0").split("/")[-2:]
        named[f"{layer}/{kind}"] = weight.numpy()
    if len(named) != len(network.weights):
        raise ArgumentError("Two weights of the network have one name.")
    return named


def assign_weights(network: Any, named: dict[str, Any]) -> None:
    """Set the weights of a network to what `named_weights` returned."""
    for weight in network.weights:
        layer, kind = weight.name.removesuffix(":0").split("/")[-2:]
        weight.assign(named[f"{layer}/{kind}"])
