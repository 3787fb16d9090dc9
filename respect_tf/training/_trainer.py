"""The loop of training: imitation of labels, then REINFORCE with a greedy rollout as baseline."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import compiled_once
from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.policy._forward import Forward
from respect_tf.scheduling._rollout import run_race, score_order
from respect_tf.training._batches import TrainingGraph, training_graph
from respect_tf.training._greedy import greedy_costs, greedy_orders, opinions
from respect_tf.training._labels import MIX, STRUCTURED, Label, label_task
from respect_tf.training._network import build_network, named_weights
from respect_tf.training._plan import TrainingPlan, Validation, read_history, write_history
from respect_tf.training._reward import cosine_reward
from respect_tf.training._steps import Steps, forward_function

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SIGNIFICANT = 0.05  # p-value below which a network replaces the baseline
_NUM_LARGE = 110  # graphs without labels in a validation
_FEW = 8  # labelled graphs that are placed in each step of REINFORCE
_LARGE_SEED, _POOL_SEED = 2, 3  # of their sequences; labels have 0 and 1


class Trainer:
    """A run of training; see `respect_tf.training._train.train`.

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
        callbacks: Sequence[Any] = (),
    ) -> None:
        import tensorflow as tf

        from respect_tf.graph._tfgnn import load_tf_keras, load_tfgnn

        load_tfgnn()  # what is missing is missing before the long part, too
        load_tf_keras().utils.set_random_seed(plan.seed)
        self.plan, self._verbose, self._callbacks = plan, verbose, callbacks
        self._labelled = [training_graph(label.task, label) for label in labels]
        self._validation = [training_graph(label.task, label) for label in validation_labels]
        self._large = [
            training_graph(label_task(index, _LARGE_SEED, num_ops=(50, 300), mix=STRUCTURED))
            for index in range(_NUM_LARGE)
        ]
        self._pool: dict[int, TrainingGraph] = {}
        self._baseline_losses: dict[int, float] = {}
        self._baseline_costs: Floats | None = None  # of the graphs of a validation
        self.network, self._baseline = build_network(plan.size), build_network(plan.size)
        self._baseline.set_weights(self.network.get_weights())
        self._averaged, self._best_network = build_network(plan.size), build_network(plan.size)
        self._averaged.set_weights(self.network.get_weights())
        self._steps = Steps(self.network, self._averaged, plan)
        self._averaged_forward = forward_function(self._averaged)
        self._baseline_forward = forward_function(self._baseline)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(np.inf, dtype=tf.float64, trainable=False)
        self._stale = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._history = folder / "validations.csv"
        self.validations = read_history(self._history)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                network=self.network,
                averaged=self._averaged,
                baseline=self._baseline,
                best_network=self._best_network,
                imitation=self._steps.optimizers[0],
                reinforce=self._steps.optimizers[1],
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
        """Go through what is left of both phases, until a time of `time.monotonic`."""
        plan = self.plan
        last = plan.imitation_steps + plan.reinforce_steps
        num_epochs = -(-plan.imitation_steps // plan.epoch_steps)
        num_epochs += -(-plan.reinforce_steps // plan.epoch_steps)
        self.network.stop_training = False
        for callback in self._callbacks:
            callback.set_model(self.network)
            callback.set_params({"epochs": num_epochs, "steps": plan.epoch_steps, "verbose": 0})
        self._call("on_train_begin", {})
        logs: dict[str, float] = {}
        while (
            int(self._step) < last
            and time.monotonic() < deadline
            and not self.network.stop_training
        ):
            logs = self._epoch(last)
        self._call("on_train_end", logs)

    def _epoch(self, last: int) -> dict[str, float]:
        """The steps up to the next validation, and what that says."""
        plan, step, epoch = self.plan, int(self._step), len(self.validations)
        imitating = step < plan.imitation_steps
        end = min(step + plan.epoch_steps, plan.imitation_steps if imitating else last)
        if step == plan.imitation_steps:
            self._start_reinforce()
        self._call("on_epoch_begin", epoch, {})
        one = self._imitate if imitating else self._reinforce
        losses = [one(number) for number in range(step, end)]
        self._step.assign(end)
        logs, ended = self._validate(float(np.mean(losses)), imitating=imitating)
        if ended:
            self._step.assign(plan.imitation_steps if imitating else last)
        self._manager.save()
        self._call("on_epoch_end", epoch, logs)
        return logs

    def _call(self, name: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, name)(*arguments)

    def _start_reinforce(self) -> None:
        # The best of imitation, if that was any good, and a new race for the best of REINFORCE.
        if self.plan.imitation_steps:
            self.network.set_weights(self._best_network.get_weights())
        for network in (self._averaged, self._baseline):
            network.set_weights(self.network.get_weights())
        self._stale.assign(0)

    def _imitate(self, number: int) -> float:
        plan = self.plan
        random = np.random.default_rng([plan.seed, number])
        rows = random.choice(len(self._labelled), plan.imitation_batch)
        others = random.choice(plan.pool, plan.imitation_batch)
        return self._steps.imitate(
            [self._labelled[row] for row in rows] + [self._graph(int(row)) for row in others]
        )

    def _reinforce(self, number: int) -> float:
        """A step of REINFORCE. Returns by how much samples cost more than the baseline."""
        plan = self.plan
        random = np.random.default_rng([plan.seed, number])
        labelled = random.choice(len(self._labelled), plan.reinforce_batch)
        if plan.reward == "cosine":
            rows, graphs = labelled, [self._labelled[row] for row in labelled]
        else:
            rows = random.choice(plan.pool, plan.reinforce_batch)
            graphs = [self._graph(int(row)) for row in rows]
        baseline = self._baseline_of(graphs, rows)
        more = [] if plan.reward == "cosine" else [self._labelled[row] for row in labelled[:_FEW]]
        saved = np.empty((len(graphs), plan.samples))

        def draw(found: Forward) -> Floats:
            race, score = compiled_once(run_race), compiled_once(score_order)
            drawn: list[list[tuple[int, Floats]]] = []
            for row, (graph, (priorities, gate)) in enumerate(
                zip(graphs, opinions(found, [*graphs, *more]), strict=False)
            ):
                drawn.append([])
                draws = random.standard_exponential((plan.samples, graph.task.num_ops))
                starts = random.choice(len(gate), plan.samples, p=gate)
                for sample, start in enumerate(starts):
                    order, _ = race(*graph.successors, priorities[start], draws[sample])
                    drawn[-1].append((start, score(*graph.successors, priorities[start], order)))
                    saved[row, sample] = baseline[row] - self._loss_of(graph, order)
            return _gathered([*graphs, *more], drawn, _advantages(saved) / plan.samples)

        self._steps.reinforce([*graphs, *more], draw)
        return -float(saved.mean())

    def _graph(self, row: int) -> TrainingGraph:
        if row not in self._pool:
            task = label_task(row, _POOL_SEED, num_ops=self.plan.pool_ops, mix=MIX)
            self._pool[row] = training_graph(task)
        return self._pool[row]

    def _loss_of(self, graph: TrainingGraph, order: Ints) -> float:
        if self.plan.reward == "cosine":
            if graph.stages is None:
                raise ArgumentError("The cosine reward needs labelled graphs.")
            return -cosine_reward(graph.stages, order)
        return graph.cost(order) / graph.reference

    def _baseline_of(self, graphs: Sequence[TrainingGraph], rows: Ints) -> list[float]:
        """Losses of the baseline's greedy orders, which are kept until it changes."""
        if any(int(row) not in self._baseline_losses for row in rows):
            orders = greedy_orders(self._baseline_forward, graphs)
            for row, graph, order in zip(rows, graphs, orders, strict=True):
                self._baseline_losses[int(row)] = self._loss_of(graph, order)
        return [self._baseline_losses[int(row)] for row in rows]

    def _replace_baseline(self, costs: Floats) -> tuple[float, float]:
        """Take the network as the baseline if a paired, one-sided t-test finds it better.

        Returns:
            The mean cost of the baseline before, and the p-value.
        """
        from scipy import stats

        if self._baseline_costs is None:
            graphs = [*self._validation, *self._large]
            self._baseline_costs = greedy_costs(self._baseline_forward, graphs)
        before = self._baseline_costs
        p_value = 1.0
        if costs.mean() < before.mean():
            p_value = float(stats.ttest_rel(costs, before, alternative="less").pvalue)
        if p_value < _SIGNIFICANT:
            self._baseline.set_weights(self._averaged.get_weights())
            self._baseline_losses.clear()
            self._baseline_costs = costs
        return float(before.mean()), p_value

    def _validate(self, loss: float, *, imitating: bool) -> tuple[dict[str, float], bool]:
        """Measure, keep the best weights, and say whether to end the phase."""
        import tensorflow as tf

        costs = greedy_costs(self._averaged_forward, [*self._validation, *self._large])
        gaps, ratios = np.split(costs, [len(self._validation)])
        gaps = gaps - 1
        file_gaps = [
            graph.cost(np.arange(graph.task.num_ops)) / graph.reference - 1
            for graph in self._validation
        ]
        found = Validation(
            step=int(self._step),
            gap=float(gaps.mean()),
            worst_gap=float(gaps.max()),
            file_gap=float(np.mean(file_gaps)),
            ratio=float(np.exp(np.log(ratios).mean())),
        )
        self.validations.append(found)
        write_history(self._history, self.validations)
        logs = {"loss": loss, **dataclasses.asdict(found)}
        del logs["step"]
        if not imitating:
            logs["baseline_cost"], logs["p_value"] = self._replace_baseline(costs)
        with self._writer.as_default(step=found.step):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        report(
            f"step {found.step}: loss {loss:.4f}, gap {found.gap:.2%} (file order "
            f"{found.file_gap:.2%}), larger graphs {found.ratio:.4f} of file order",
            verbose=self._verbose,
        )
        if found.score < float(self._best):
            self._best.assign(found.score)
            self._best_network.set_weights(self._averaged.get_weights())
            self._stale.assign(0)
        else:
            self._stale.assign_add(1)
        return logs, int(self._stale) >= self.plan.patience


def _advantages(saved: Floats) -> Floats:
    """Advantages of samples from by how much each costs less than the baseline.

    The reward is the improvement, 0 where there is none: random orders cost more than greedy ones
    by nature, and by how much says nothing about the greedy order that they might lead to. What is
    left is centred per graph, which changes no expectation.

    Args:
        saved: float64 [num_graphs, num_samples].
    """
    gained = np.maximum(saved, 0.0)
    num_samples = gained.shape[1]
    others = (gained.sum(axis=1, keepdims=True) - gained) / max(num_samples - 1, 1)
    centred = gained - others
    advantages: Floats = centred / (centred.std() + 1e-6)
    return advantages


def _gathered(
    graphs: Sequence[TrainingGraph],
    drawn: Sequence[Sequence[tuple[int, Floats]]],
    advantages: Floats,
) -> Floats:
    """The score that `reinforce_loss` takes: 0 for graphs without samples, which come last."""
    starts = np.cumsum([0, *(graph.task.num_ops for graph in graphs)])
    score = np.zeros((starts[-1], graphs[0].order_costs.size))
    for row, samples in enumerate(drawn):
        part = score[starts[row] : starts[row + 1]]
        for (order, gradient), advantage in zip(samples, advantages[row], strict=True):
            part[:, order] += advantage * gradient
    return score
