"""Training as RESPECT does it: the pointer decoder, REINFORCE, and the cosine reward.

The published setting (arXiv 2304.04716): graphs of 30 ops, one sample per graph, a greedy rollout
of the best network so far as the baseline, which a paired t-test replaces, one epoch to warm up.
Other than there, the encoder is the graph network of `build_network`, and a mask lets the decoder
choose ready ops only, so that no sequence needs a repair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.training._batches import TrainingGraph, merged_tensor, training_graph
from respect_tf.training._labels import Label
from respect_tf.training._network import NetworkSize, build_network

Floats = npt.NDArray[np.float64]

_SIGNIFICANT = 0.05
_WARM_UP_DECAY = 0.8  # of the mean cost that is the baseline in the first epoch


@dataclasses.dataclass(frozen=True)
class PointerPlan:
    """What a run does. The same plan and labels give the same run.

    Attributes:
        seed: Of weights, batches and samples.
        epochs: Number of epochs.
        epoch_steps: Steps in each.
        batch: Graphs in a step.
        rate: Learning rate of Adam.
        temperature: What logits are divided by when orders are drawn: above 1 explores more.
        units: Width of the LSTM and of the attention.
        size: The graph network.
    """

    seed: int = 0
    epochs: int = 12
    epoch_steps: int = 25
    batch: int = 64
    rate: float = 5e-4
    temperature: float = 1.0
    units: int = 64
    size: NetworkSize = dataclasses.field(default_factory=lambda: NetworkSize(32, 2))

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ArgumentError(f"temperature must be above 0. Received: {self.temperature!r}.")


@dataclasses.dataclass(frozen=True)
class PointerValidation:
    """How good greedy sequences are on graphs that training never sees.

    Attributes:
        step: Steps so far.
        training_cost: Mean cost of the samples since the last validation: 1 - cosine.
        cost: Mean cost of greedy sequences.
        baseline_cost: That of the baseline.
        p_value: Of the t-test against it; 1 where the network is not better.
        gap: Mean of cost / label's cost - 1 of the best cuts of greedy sequences.
    """

    step: int
    training_cost: float
    cost: float
    baseline_cost: float
    p_value: float
    gap: float


def train_pointer(
    labels: Sequence[Label],
    validation_labels: Sequence[Label],
    plan: PointerPlan | None = None,
    *,
    verbose: Verbosity = "auto",
) -> list[PointerValidation]:
    """Train a graph network with a pointer decoder.

    Args:
        labels: Graphs of one size, with the teacher's stages.
        validation_labels: Others, of the same size.
        plan: What to do; `PointerPlan()` if left out.
        verbose: 0 for silence.

    Returns:
        A validation before the first step, and one after each epoch.

    Raises:
        ArgumentError: Graphs differ in size, or there are none.
        DependencyError: TF-GNN is not installed.
    """
    sizes = {label.task.num_ops for label in (*labels, *validation_labels)}
    if len(sizes) != 1 or not labels or not validation_labels:
        raise ArgumentError(
            "train_pointer needs labels for training and for validation, all of graphs with the "
            f"same number of ops. Received: {len(labels)} and {len(validation_labels)} labels of "
            f"graphs with {sorted(sizes)} ops."
        )
    return _Run(labels, validation_labels, plan or PointerPlan(), verbose).run()


class _Run:
    def __init__(
        self,
        labels: Sequence[Label],
        validation_labels: Sequence[Label],
        plan: PointerPlan,
        verbose: Verbosity,
    ) -> None:
        from respect_tf.graph._tfgnn import load_tf_keras
        from respect_tf.training._decoders import PointerDecoder

        keras = load_tf_keras()
        keras.utils.set_random_seed(plan.seed)
        self._plan, self._verbose = plan, verbose
        self._graphs = [training_graph(label.task, label) for label in labels]
        self._validation = [training_graph(label.task, label) for label in validation_labels]
        self._networks = [build_network(plan.size) for _ in range(2)]
        self._decoder, self._baseline = (
            PointerDecoder(network, plan.units) for network in self._networks
        )
        self._optimizer = keras.optimizers.Adam(plan.rate, global_clipnorm=1.0)
        self._optimizer.build(self._weights)
        self._replace_baseline()
        self._descend = self._step_function()

    @property
    def _weights(self) -> list[Any]:
        return [*self._networks[0].trainable_weights, *self._decoder.layers.trainable_weights]

    def run(self) -> list[PointerValidation]:
        plan = self._plan
        found = [self._validate(0, float("nan"))]
        warm: float | None = None
        for epoch in range(plan.epochs):
            costs = []
            for step in range(epoch * plan.epoch_steps, (epoch + 1) * plan.epoch_steps):
                random = np.random.default_rng([plan.seed, step])
                graphs = [self._graphs[row] for row in random.choice(len(self._graphs), plan.batch)]
                tensor, stages = merged_tensor(graphs), _stages(graphs)
                if epoch:
                    baseline = self._costs(self._baseline, tensor, stages)
                else:
                    baseline = np.full(plan.batch, np.nan if warm is None else warm)
                sampled = self._descend(
                    tensor, stages, np.array([plan.seed, step], np.int32), baseline
                ).numpy()
                mean = float(sampled.mean())
                warm = mean if warm is None else _WARM_UP_DECAY * warm + (1 - _WARM_UP_DECAY) * mean
                costs.append(mean)
            found.append(self._validate((epoch + 1) * plan.epoch_steps, float(np.mean(costs))))
        return found

    def _step_function(self) -> Callable[..., Any]:
        import tensorflow as tf

        from respect_tf.graph._graph_tensor import graph_tensor_spec

        temperature = tf.constant(self._plan.temperature, tf.float32)

        def step(tensor: Any, stages: Any, seed: Any, baseline: Any) -> Any:
            with tf.GradientTape() as tape:
                decoded = self._decoder.sample(tensor, seed, 1, temperature)
                costs = cosine_costs(stages, decoded.orders)
                # The first step of all has no baseline yet.
                least = tf.where(tf.math.is_nan(baseline), tf.reduce_mean(costs), baseline)
                loss = tf.reduce_mean((costs - least) * decoded.log_probability)
            weights = self._weights
            gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
            self._optimizer.apply_gradients(zip(gradients, weights, strict=True))
            return costs

        compiled: Callable[..., Any] = tf.function(
            step,
            input_signature=[
                graph_tensor_spec(),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ],
        )
        return compiled

    def _costs(self, decoder: Any, tensor: Any, stages: npt.NDArray[np.int32]) -> Any:
        return cosine_costs(stages, decoder.greedy(tensor).orders).numpy()

    def _replace_baseline(self) -> None:
        for one, other in (
            (self._networks[1], self._networks[0]),
            (self._baseline.layers, self._decoder.layers),
        ):
            one.set_weights(other.get_weights())

    def _validate(self, step: int, training_cost: float) -> PointerValidation:
        from scipy import stats

        graphs = self._validation
        tensor, stages = merged_tensor(graphs), _stages(graphs)
        orders = self._decoder.greedy(tensor).orders.numpy()
        mine = cosine_costs(stages, orders).numpy()
        theirs = self._costs(self._baseline, tensor, stages)
        p_value = 1.0
        if mine.mean() < theirs.mean():
            p_value = float(stats.ttest_rel(mine, theirs, alternative="less").pvalue)
        gaps = [
            graph.cost(order.astype(np.int64)) / graph.reference - 1
            for graph, order in zip(graphs, orders, strict=True)
        ]
        found = PointerValidation(
            step,
            training_cost,
            float(mine.mean()),
            float(theirs.mean()),
            p_value,
            float(np.mean(gaps)),
        )
        if p_value < _SIGNIFICANT:
            self._replace_baseline()
        report(
            f"step {step}: cost {found.cost:.4f} (baseline {found.baseline_cost:.4f}, p "
            f"{p_value:.3f}), cut {found.gap:.2%} above labels",
            verbose=self._verbose,
        )
        return found


def cosine_costs(stages: Any, orders: Any) -> Any:
    """1 - `cosine_reward` of sequences, as a TensorFlow function.

    Args:
        stages: int32 [num_graphs, num_ops], the teacher's.
        orders: int32 [num_graphs, num_ops].

    Returns:
        float32 [num_graphs].
    """
    import tensorflow as tf

    labels = tf.cast(stages, tf.float32) + 1.0
    listed = tf.gather(labels, orders, batch_dims=1)
    likeness = tf.reduce_sum(listed * tf.sort(labels, axis=1), axis=1)
    return 1.0 - likeness / tf.reduce_sum(labels * labels, axis=1)


def _stages(graphs: Sequence[TrainingGraph]) -> npt.NDArray[np.int32]:
    return np.array([graph.stages for graph in graphs], np.int32)
