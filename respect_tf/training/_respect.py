"""RESPECT's training (arXiv 2304.04716): REINFORCE with a greedy rollout as the baseline.

The published setting: graphs of 30 ops, one sample per graph, a greedy rollout of the best network
so far as the baseline, which a paired t-test replaces, one epoch to warm up, and as the reward the
cosine of the teacher's stages, listed in the sequence's order, and the same sorted.

That reward compares with one schedule of many that are as good: what orders ops of equal stages as
the teacher has them is at 1, whatever lies between, and an order with a better cut than another one
may be less like the teacher. The other reward is what counts: minus the cost of the order's best
cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.graph import Ints, OpGraph, load_tf_keras
from respect_tf.training._labels import Example, Label, example_of

Floats = npt.NDArray[np.float64]

_SIGNIFICANT = 0.05
_WARM_UP_DECAY = 0.8  # of the mean cost that is the baseline in the first epoch


@dataclasses.dataclass(frozen=True)
class RespectPlan:
    """What a run does. The same plan and labels give the same run.

    Attributes:
        reward: `"cosine"`, as published, or `"cut"`, minus the relative cost of the best cut.
        seed: Of weights, batches and samples.
        epochs: Number of epochs.
        epoch_steps: Steps in each.
        batch: Graphs in a step; 128 as published.
        rate: Learning rate of Adam; 1e-4 as published, in many more steps.
        units: Width of the LSTMs and of the attention; 256 as published.
    """

    reward: Literal["cosine", "cut"] = "cosine"
    seed: int = 0
    epochs: int = 12
    epoch_steps: int = 25
    batch: int = 64
    rate: float = 1e-3
    units: int = 64

    def __post_init__(self) -> None:
        if self.reward not in ("cosine", "cut"):
            raise ArgumentError(f'reward must be "cosine" or "cut". Received: {self.reward!r}.')


@dataclasses.dataclass(frozen=True)
class RespectValidation:
    """How good greedy sequences are on graphs that training never sees, after some steps."""

    step: int
    likeness: float  # mean cosine reward
    gap: float  # mean of cost / label's cost - 1 of their best cuts
    baseline_replaced: bool  # whether the network became the baseline


def cosine_reward(stages: npt.NDArray[np.int32], order: Ints) -> float:
    """The reward of RESPECT: 1 where an order goes through the teacher's stages in turn.

    The cosine of the angle between the teacher's stages, int32 [num_ops], counted from 1, listed
    in an order, int64 [num_ops], and the same stages sorted.
    """
    labels = stages.astype(np.float64) + 1
    return float(labels[order] @ np.sort(labels) / (labels @ labels))


class RespectRun:
    """A run of training, with labels of graphs of one size.

    Raises:
        ArgumentError: Graphs differ in size, or there are none.
        DependencyError: tf_keras is not installed.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        validation_labels: Sequence[Label],
        plan: RespectPlan = RespectPlan(),
        verbose: Verbosity = "auto",
    ) -> None:
        sizes = {label.task.num_ops for label in (*labels, *validation_labels)}
        if len(sizes) != 1 or not labels or not validation_labels:
            raise ArgumentError(
                "RESPECT trains with labels for training and for validation, all of graphs with "
                f"the same number of ops. Received: {len(labels)} and {len(validation_labels)} "
                f"labels of graphs with {sorted(sizes)} ops."
            )
        import tensorflow as tf

        from respect_tf.training._pointer import NUM_FEATURES, graph_batch, pointer_network

        keras = load_tf_keras()
        keras.utils.set_random_seed(plan.seed)
        self._plan, self._verbose, self._batch_of = plan, verbose, graph_batch
        self._examples = [example_of(label) for label in labels]
        self._validation = [example_of(label) for label in validation_labels]
        self._network, self._baseline = (pointer_network(plan.units) for _ in range(2))
        self._optimizer = keras.optimizers.Adam(plan.rate, global_clipnorm=1.0)
        batch = (tf.TensorSpec([None, None, NUM_FEATURES]), tf.TensorSpec([None, None, None]))
        seed = tf.TensorSpec([2], tf.int32)
        self._greedy, self._greedy_baseline = (
            tf.function(lambda *parts, net=net: net(parts)[0], input_signature=batch)
            for net in (self._network, self._baseline)
        )
        self._sample = tf.function(
            lambda *parts: self._network(parts[:2], parts[2])[0], input_signature=(*batch, seed)
        )
        self._descend = tf.function(
            self._step, input_signature=(*batch, seed, tf.TensorSpec([None]))
        )
        for net in (self._network, self._baseline):
            net(self._batch(self._examples[:1]))
        self._baseline.set_weights(self._network.get_weights())

    def run(self) -> list[RespectValidation]:
        """Train. A validation before the first step, and one after each epoch."""
        plan = self._plan
        found = [self._validate(0)]
        warm: float | None = None
        for epoch in range(plan.epochs):
            for step in range(epoch * plan.epoch_steps, (epoch + 1) * plan.epoch_steps):
                random = np.random.default_rng([plan.seed, step])
                rows = random.choice(len(self._examples), plan.batch)
                examples = [self._examples[row] for row in rows]
                batch, seed = self._batch(examples), np.array([plan.seed, step], np.int32)
                costs = self._costs(examples, self._sample(*batch, seed))
                mean = float(costs.mean())
                warm = mean if warm is None else _WARM_UP_DECAY * warm + (1 - _WARM_UP_DECAY) * mean
                baseline: Any = warm
                if epoch:
                    baseline = self._costs(examples, self._greedy_baseline(*batch))
                self._descend(*batch, seed, (costs - baseline).astype(np.float32))
            found.append(self._validate((epoch + 1) * plan.epoch_steps))
        return found

    def order(self, graph: OpGraph) -> Ints:
        """The likeliest sequence of any graph whose ops are in topological order. [num_ops]."""
        found: Ints = self._greedy(*self._batch_of([graph])).numpy()[0].astype(np.int64)
        return found

    def _batch(self, examples: Sequence[Example]) -> Any:
        return self._batch_of([one.graph for one in examples])

    def _step(self, features: Any, edges: Any, seed: Any, advantage: Any) -> None:
        """One step down: the same seed draws the same sequences once more, now with gradients."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            log_probability = self._network((features, edges), seed)[1]
            loss = tf.reduce_mean(advantage * log_probability)
        weights = self._network.trainable_weights
        self._optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def _costs(self, examples: Sequence[Example], orders: Any) -> Floats:
        if self._plan.reward == "cut":
            return _cuts(examples, orders)
        return 1 - _likeness(examples, orders)

    def _validate(self, step: int) -> RespectValidation:
        from scipy import stats

        examples = self._validation
        batch = self._batch(examples)
        orders = self._greedy(*batch)
        mine = self._costs(examples, orders)
        theirs = self._costs(examples, self._greedy_baseline(*batch))
        replaced = False
        if mine.mean() < theirs.mean():
            test = stats.ttest_rel(mine, theirs, alternative="less")
            replaced = bool(test.pvalue < _SIGNIFICANT)
        if replaced:
            self._baseline.set_weights(self._network.get_weights())
        likeness = float(_likeness(examples, orders).mean())
        gap = float(_cuts(examples, orders).mean()) - 1
        found = RespectValidation(step, likeness, gap, replaced)
        report(
            f"step {step}: likeness {found.likeness:.4f}, cut {found.gap:.2%} above labels",
            verbose=self._verbose,
        )
        return found


def _likeness(examples: Sequence[Example], orders: Any) -> Floats:
    pairs = zip(examples, orders.numpy(), strict=True)
    return np.array([cosine_reward(x.stages, order) for x, order in pairs if x.stages is not None])


def _cuts(examples: Sequence[Example], orders: Any) -> Floats:
    pairs = zip(examples, orders.numpy().astype(np.int64), strict=True)
    return np.array([example.cost(order) for example, order in pairs])
