"""The loop of training: imitation of labels, then REINFORCE with a greedy rollout as baseline."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.graph import FAMILIES
from respect_tf.policy._batches import TrainingGraph, merged_tensor, padded, training_graph
from respect_tf.policy._labels import Label, label_task
from respect_tf.policy._losses import imitation_loss, reinforce_loss
from respect_tf.policy._network import build_network, named_weights
from respect_tf.policy._plan import TrainingPlan, Validation, read_history, write_history
from respect_tf.policy._reward import cosine_reward
from respect_tf.policy._rollout import CLIP, compiled_race

Floats = npt.NDArray[np.float64]

_SIGNIFICANT = 0.05  # p-value below which a network replaces the baseline
_NUM_LARGE = 90  # graphs without labels in a validation
_MANY = 50  # graphs in one forward pass of a validation


class Trainer:
    """A run of training; see `respect_tf.policy._train.train`.

    Attributes:
        plan: What to do.
        network: The network that is trained.
        validations: So far.
    """

    def __init__(
        self,
        folder: Path,
        labels: Sequence[Label],
        validation_labels: Sequence[Label],
        plan: TrainingPlan,
        verbose: Verbosity,
    ) -> None:
        import tensorflow as tf

        from respect_tf.graph._tfgnn import load_tf_keras

        tf_keras = load_tf_keras()
        tf_keras.utils.set_random_seed(plan.seed)
        self.plan, self._verbose = plan, verbose
        self._labelled = [training_graph(label.task, label) for label in labels]
        self._validation = [training_graph(label.task, label) for label in validation_labels]
        self._large = [
            training_graph(label_task(index, 2, num_ops=(60, 200), mix=FAMILIES))
            for index in range(_NUM_LARGE)
        ]
        self._pool: dict[int, TrainingGraph] = {}
        self._baseline_costs: dict[int, float] = {}
        self._race = compiled_race()
        self.network, self._baseline = build_network(plan.size), build_network(plan.size)
        self._baseline.set_weights(self.network.get_weights())
        schedule = tf_keras.optimizers.schedules.CosineDecay(
            plan.reinforce_rate, max(plan.reinforce_steps, 1), alpha=0.1
        )
        self._optimizers = (
            tf_keras.optimizers.Adam(plan.imitation_rate, global_clipnorm=1.0),
            tf_keras.optimizers.Adam(schedule, global_clipnorm=1.0),
        )
        self._steps = (self._imitation_step(), self._reinforce_step())
        self._forward = self._forward_function(self.network)
        self._baseline_forward = self._forward_function(self._baseline)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(np.inf, dtype=tf.float64, trainable=False)
        self._stale = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best_network = build_network(plan.size)
        self._history = folder / "validations.csv"
        self.validations = read_history(self._history)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                network=self.network,
                baseline=self._baseline,
                best_network=self._best_network,
                imitation=self._optimizers[0],
                reinforce=self._optimizers[1],
                step=self._step,
                best=self._best,
                stale=self._stale,
            ),
            str(folder),
            max_to_keep=2,
        )
        if self._manager.restore_or_initialize() is None:
            self.validations = []
        self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    @property
    def best_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Those of the best validation, as `named_weights` names them."""
        weights: dict[str, npt.NDArray[np.float32]] = named_weights(self._best_network)
        return weights

    def run(self, deadline: float) -> None:
        """Go through what is left of both phases."""
        plan = self.plan
        last = plan.imitation_steps + plan.reinforce_steps
        while int(self._step) < last and time.monotonic() < deadline:
            step = int(self._step)
            imitating = step < plan.imitation_steps
            end = min(step + plan.epoch_steps, plan.imitation_steps if imitating else last)
            if step == plan.imitation_steps:
                self._start_reinforce()
            one = self._imitate if imitating else self._reinforce
            losses = [one(number) for number in range(step, end)]
            self._step.assign(end)
            if not imitating and self._is_better():
                self._baseline.set_weights(self.network.get_weights())
                self._baseline_costs.clear()
            ended = self._validate(float(np.mean(losses)))
            if ended:
                self._step.assign(plan.imitation_steps if imitating else last)
            self._manager.save()

    def _start_reinforce(self) -> None:
        self.network.set_weights(self._best_network.get_weights())
        self._baseline.set_weights(self._best_network.get_weights())
        self._stale.assign(0)

    def _imitation_step(self) -> Callable[..., Any]:
        import tensorflow as tf

        from respect_tf.graph._graph_tensor import graph_tensor_spec

        @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
            input_signature=[graph_tensor_spec(), *[tf.TensorSpec([None], tf.int32)] * 3]
        )
        def step(tensor: Any, num_ops: Any, num_stages: Any, stages: Any) -> Any:
            with tf.GradientTape() as tape:
                heads = self.network(tensor, training=True)[0]
                loss = imitation_loss(heads, num_ops, num_stages, stages)
            self._descend(0, tape, loss)
            return loss

        return step  # type: ignore[no-any-return]

    def _reinforce_step(self) -> Callable[..., Any]:
        import tensorflow as tf

        from respect_tf.graph._graph_tensor import graph_tensor_spec

        @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
            input_signature=[
                graph_tensor_spec(),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ]
        )
        def step(tensor: Any, num_ops: Any, position: Any, ready_at: Any, advantage: Any) -> Any:
            with tf.GradientTape() as tape:
                heads = self.network(tensor, training=True)[0]
                loss = reinforce_loss(heads, num_ops, position, ready_at, advantage)
            self._descend(1, tape, loss)
            return loss

        return step  # type: ignore[no-any-return]

    def _descend(self, phase: int, tape: Any, loss: Any) -> None:
        weights = self.network.trainable_weights
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        self._optimizers[phase].apply_gradients(zip(gradients, weights, strict=True))

    def _forward_function(self, network: Any) -> Callable[[Any], Any]:
        import tensorflow as tf

        from respect_tf.graph._graph_tensor import graph_tensor_spec

        @tf.function(input_signature=[graph_tensor_spec()])  # type: ignore[untyped-decorator, unused-ignore]
        def forward(tensor: Any) -> Any:
            return network(tensor)[0]

        return forward  # type: ignore[no-any-return]

    def _imitate(self, number: int) -> float:
        random = np.random.default_rng([self.plan.seed, number])
        rows = random.choice(len(self._labelled), self.plan.imitation_batch)
        graphs = [self._labelled[row] for row in rows]
        loss = self._steps[0](
            merged_tensor(graphs),
            np.array([graph.task.num_ops for graph in graphs], np.int32),
            np.array([graph.task.num_stages for graph in graphs], np.int32),
            np.concatenate([_stages(graph) for graph in graphs]),
        )
        return float(loss)

    def _reinforce(self, number: int) -> float:
        plan = self.plan
        random = np.random.default_rng([plan.seed, number])
        if plan.reward == "cosine":
            rows = random.choice(len(self._labelled), plan.reinforce_batch)
            graphs = [self._labelled[row] for row in rows]
        else:
            rows = random.choice(plan.pool, plan.reinforce_batch)
            graphs = [self._graph(int(row)) for row in rows]
        tensor = merged_tensor(graphs)
        baseline = self._baseline_of(graphs, rows, tensor)
        positions, ready, advantages = [], [], []
        for graph, priorities, least in zip(
            graphs, self._priorities(self._forward, graphs, tensor), baseline, strict=True
        ):
            draws = random.standard_exponential((plan.samples, graph.task.num_ops))
            for row in draws:
                order, ready_at = self._race(*graph.successors, priorities, row)
                position = np.empty(len(order), np.int32)
                position[order] = np.arange(len(order))
                positions.append(position)
                ready.append(ready_at.astype(np.int32))
                advantages.append(least - self._loss_of(graph, order))
        advantage = np.array(advantages, np.float32)
        loss = self._steps[1](
            tensor,
            np.array([graph.task.num_ops for graph in graphs], np.int32),
            padded(positions, -1),
            padded(ready, np.iinfo(np.int32).max),
            advantage / (advantage.std() + 1e-6),
        )
        del loss  # only its gradient means anything
        return -float(advantage.mean())

    def _graph(self, row: int) -> TrainingGraph:
        if row not in self._pool:
            task = label_task(row, 3, num_ops=self.plan.pool_ops, mix=FAMILIES)
            self._pool[row] = training_graph(task)
        return self._pool[row]

    def _loss_of(self, graph: TrainingGraph, order: npt.NDArray[np.int64]) -> float:
        if self.plan.reward == "cosine":
            return -cosine_reward(_stages(graph), order)
        return graph.cost(order) / graph.reference

    def _baseline_of(
        self, graphs: Sequence[TrainingGraph], rows: npt.NDArray[np.int64], tensor: Any
    ) -> list[float]:
        """Losses of the baseline's greedy orders, which are kept until it changes."""
        if any(int(row) not in self._baseline_costs for row in rows):
            orders = self._greedy(self._baseline_forward, graphs, tensor)
            for row, graph, order in zip(rows, graphs, orders, strict=True):
                self._baseline_costs[int(row)] = self._loss_of(graph, order)
        return [self._baseline_costs[int(row)] for row in rows]

    def _priorities(
        self, forward: Callable[[Any], Any], graphs: Sequence[TrainingGraph], tensor: Any
    ) -> Iterator[Floats]:
        heads = forward(tensor).numpy().astype(np.float64)
        ends = np.cumsum([graph.task.num_ops for graph in graphs])
        for part in np.split(heads, ends[:-1]):
            yield CLIP * np.tanh(part[:, 0] / CLIP)

    def _greedy(
        self, forward: Callable[[Any], Any], graphs: Sequence[TrainingGraph], tensor: Any
    ) -> list[npt.NDArray[np.int64]]:
        return [
            self._race(*graph.successors, priorities, np.empty(0))[0]
            for graph, priorities in zip(
                graphs, self._priorities(forward, graphs, tensor), strict=True
            )
        ]

    def _greedy_costs(
        self, forward: Callable[[Any], Any], graphs: Sequence[TrainingGraph]
    ) -> Floats:
        """Relative costs of greedy orders. float64 [len(graphs)]."""
        costs = []
        for start in range(0, len(graphs), _MANY):
            part = graphs[start : start + _MANY]
            orders = self._greedy(forward, part, merged_tensor(part))
            costs += [
                graph.cost(order) / graph.reference
                for graph, order in zip(part, orders, strict=True)
            ]
        return np.array(costs)

    def _is_better(self) -> bool:
        """Whether the network beats the baseline: a paired, one-sided t-test."""
        from scipy import stats

        graphs = [*self._validation, *self._large]
        mine = self._greedy_costs(self._forward, graphs)
        theirs = self._greedy_costs(self._baseline_forward, graphs)
        if not mine.mean() < theirs.mean():
            return False
        return float(stats.ttest_rel(mine, theirs, alternative="less").pvalue) < _SIGNIFICANT

    def _validate(self, loss: float) -> bool:
        """Measure, keep the best weights, and say whether to end the phase."""
        import tensorflow as tf

        gaps = self._greedy_costs(self._forward, self._validation) - 1
        file_gaps = [
            graph.cost(np.arange(graph.task.num_ops)) / graph.reference - 1
            for graph in self._validation
        ]
        ratios = self._greedy_costs(self._forward, self._large)
        found = Validation(
            step=int(self._step),
            gap=float(gaps.mean()),
            worst_gap=float(gaps.max()),
            file_gap=float(np.mean(file_gaps)),
            ratio=float(np.exp(np.log(ratios).mean())),
        )
        self.validations.append(found)
        write_history(self._history, self.validations)
        with self._writer.as_default(step=found.step):
            tf.summary.scalar("loss", loss)
            for name, value in dataclasses.asdict(found).items():
                tf.summary.scalar(f"validation/{name}", value)
        report(
            f"step {found.step}: loss {loss:.4f}, gap {found.gap:.2%} (file order "
            f"{found.file_gap:.2%}), larger graphs {found.ratio:.4f} of file order",
            verbose=self._verbose,
        )
        if found.score < float(self._best):
            self._best.assign(found.score)
            self._best_network.set_weights(self.network.get_weights())
            self._stale.assign(0)
        else:
            self._stale.assign_add(1)
        return int(self._stale) >= self.plan.patience


def _stages(graph: TrainingGraph) -> npt.NDArray[np.int32]:
    if graph.stages is None:
        raise ArgumentError("Imitation and the cosine reward need labelled graphs.")
    return graph.stages
