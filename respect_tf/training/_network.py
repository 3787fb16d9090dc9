"""The network, in TF-GNN: from a graph to the scores by which each head orders its ops."""

from __future__ import annotations

import dataclasses
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf.graph import (
    BACKWARD,
    FEATURE,
    FORWARD,
    OP_SET,
    graph_tensor_spec,
    load_tf_keras,
    load_tfgnn,
)


@dataclasses.dataclass(frozen=True)
class NetworkSize:
    """How large a network is.

    Attributes:
        units: Width of the states of ops and of the graph.
        rounds: How often messages are passed.
        heads: How many orders it makes.
    """

    units: int = 16
    rounds: int = 2
    heads: int = 16

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    f"{name} must be a whole number, 1 or more. Received: {value!r}."
                )


def build_network(size: NetworkSize = NetworkSize()) -> Any:
    """Make the network with fresh weights.

    In each round every op receives messages from the ops that it reads from, from its readers (the
    mean and the maximum of each) and the state of the graph, then the graph's state is renewed from
    the mean and the maximum of the ops' states. Linear heads read an op's state, its features and
    its place in the rule's order. Weights have names, `"round_0_feeds/kernel"` and so on, which
    files of weights use.

    Args:
        size: Its size.

    Returns:
        A `tf_keras.Model` that takes a scalar `GraphTensor` of one or more graphs
        (`OpGraph.to_graph_tensor`) and the ops' places in the rule's order, float32 [num_ops, 1],
        and returns scores, float32 [num_ops, heads]: each head's order takes the ready op of the
        least score next.
    """
    tfgnn, tf_keras = load_tfgnn(), load_tf_keras()
    layers, units = tf_keras.layers, size.units
    hidden = tfgnn.HIDDEN_STATE

    def dense(name: str, activation: str | None = "relu") -> Any:
        return layers.Dense(units, activation, name=name)

    graph = given = layers.Input(type_spec=graph_tensor_spec())
    rule = layers.Input([1], name="rule")
    encode_ops, encode_graph = dense("encode_op"), dense("encode_graph")
    # op: [num_ops, units]; context: [num_graphs, units]
    graph = tfgnn.keras.layers.MapFeatures(
        node_sets_fn=lambda pieces, node_set_name: {hidden: encode_ops(pieces[FEATURE])},
        context_fn=lambda context: {hidden: encode_graph(context[FEATURE])},
    )(graph)
    for number in range(size.rounds):
        name = f"round_{number}"
        # By edge set: messages [num_edges, units], pooled to [num_ops, 2 * units]
        messages = {
            edges: tfgnn.keras.layers.SimpleConv(
                dense(f"{name}_{edges}"), "mean|max_no_inf", receiver_tag=tfgnn.TARGET
            )
            for edges in (FORWARD, BACKWARD)
        }
        # [num_ops, 6 * units] to [num_ops, units]
        renew_op = tf_keras.Sequential(
            [dense(f"{name}_op_inner"), dense(f"{name}_op_outer", None)], name=f"{name}_op"
        )
        # op: [num_ops, units]; context: [num_graphs, 3 * units] to [num_graphs, units]
        graph = tfgnn.keras.layers.GraphUpdate(
            node_sets={
                OP_SET: tfgnn.keras.layers.NodeSetUpdate(
                    messages,
                    tfgnn.keras.layers.ResidualNextState(renew_op, activation="relu"),
                    context_input_feature=hidden,
                )
            },
            # Nobody reads the graph's state after the last round.
            context=None
            if number == size.rounds - 1
            else tfgnn.keras.layers.ContextUpdate(
                {OP_SET: tfgnn.keras.layers.Pool(tfgnn.CONTEXT, "mean|max_no_inf")},
                tfgnn.keras.layers.NextStateFromConcat(dense(f"{name}_graph")),
            ),
        )(graph)
    # [num_ops, units], [num_ops, features]
    states, features = graph.node_sets[OP_SET][hidden], given.node_sets[OP_SET][FEATURE]
    # [num_ops, units + features + 1]
    inputs = layers.Concatenate()([states, features, rule])
    # [num_ops, heads]
    scores = layers.Dense(size.heads, use_bias=False, name="heads")(inputs)
    return tf_keras.Model([given, rule], scores, name="policy")


def named_weights(network: Any) -> dict[str, Any]:
    """The weights of a network as numpy arrays, float32, by `"LAYER/kernel"` and `"LAYER/bias"`."""
    named = {_name(weight): weight.numpy() for weight in network.weights}
    if len(named) != len(network.weights):
        raise ArgumentError("Two weights of the network have one name.")
    return named


def assign_weights(network: Any, named: dict[str, Any]) -> None:
    """Set the weights of a network to what `named_weights` returned."""
    for weight in network.weights:
        weight.assign(named[_name(weight)])


def _name(weight: Any) -> str:
    return "/".join(weight.name.removesuffix(":0").split("/")[-2:])
