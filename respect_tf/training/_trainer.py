"""The loop of training: imitation of labels, REINFORCE, then the choice of the last layer."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.graph import load_tf_keras, load_tfgnn
from respect_tf.policy import Arrays, Weights, rounded_weights
from respect_tf.training._heads import HeadChoice, head_tasks
from respect_tf.training._labels import (
    STRUCTURED,
    WIDE_MIX,
    Label,
    example_of,
    label_task,
    network_inputs,
)
from respect_tf.training._losses import advantages, best_others, training_steps
from respect_tf.training._network import assign_weights, build_network, named_weights
from respect_tf.training._plan import TrainingPlan, Validation, read_history, write_history
from respect_tf.training._replicas import Replicas

_NUM_LARGE = 60  # graphs without labels in a validation
_LARGE_OPS = (100, 300)
_STRUCTURED_OPS = (50, 500)  # of every other graph that heads are chosen on
# Of their sequences: labels have 0, 1 and 2.
_LARGE_SEED, _POOL_SEED, _HEAD_SEED = 3, 4, 5
# benchmarks constants: half +0.02 % cost; twice -0.03 % cost.
_GENTLE = 1.0  # gradients are cut off at this norm
# benchmarks constants: half -0.03 % cost; twice the same.
_LAST_RATE = 0.05


def train(
    folder: str | os.PathLike[str],
    labels: Sequence[Label],
    validation_labels: Sequence[Label],
    plan: TrainingPlan | None = None,
    *,
    time_limit: float | None = None,
    callbacks: Sequence[Any] = (),
    strategy: Any = None,
    verbose: Verbosity = "auto",
) -> tuple[Arrays, list[Validation]]:
    """Train a network, or go on with a run that was stopped.

    Args:
        folder: For checkpoints and TensorBoard's files; a run that is there is continued.
        labels: To imitate.
        validation_labels: To measure by.
        plan: What to do; `TrainingPlan()` if left out.
        time_limit: Seconds after which to stop, at the end of an epoch; a later call goes on.
        callbacks: Objects with the methods of Keras's callbacks `set_model`, `set_params`,
            `on_train_begin`, `on_epoch_begin`, `on_epoch_end` and `on_train_end`. An epoch is what
            lies between two validations, and its logs are what these say, as plain floats. The
            model is the network; `model.stop_training = True` ends training.
        strategy: One of `tf.distribute`, such as `strategy_of` gives: batches are shared out among
            its replicas. With several machines, each calls this with the same arguments and a
            folder that all reach; the first one writes to it. The run is the same as with a single
            replica, up to the order in which float32 sums are added.
        verbose: 0 for silence.

    Returns:
        The weights, as `Weights` takes them, and all validations.

    Raises:
        ArgumentError: There are no labels, or fewer in a batch than replicas.
        DependencyError: TF-GNN or tf_keras is not installed.
        TrainingError: Another worker is lost.
    """
    if not labels or not validation_labels:
        raise ArgumentError(
            "Training needs labels to imitate and others to validate by. Received: "
            f"{len(labels)} and {len(validation_labels)}."
        )
    plan = TrainingPlan() if plan is None else plan
    trainer = Trainer(Path(folder), labels, validation_labels, plan, verbose, callbacks, strategy)
    trainer.run(np.inf if time_limit is None else time.monotonic() + time_limit)
    return trainer.weights, trainer.validations


class Trainer:
    """A run of training: see `train`."""

    def __init__(
        self,
        folder: Path,
        labels: Sequence[Label],
        validation_labels: Sequence[Label],
        plan: TrainingPlan,
        verbose: Verbosity,
        callbacks: Sequence[Any] = (),
        strategy: Any = None,
    ) -> None:
        import tensorflow as tf

        load_tfgnn()  # what is missing is missing before the long part, too
        keras = load_tf_keras()
        keras.utils.set_random_seed(plan.seed)
        self.plan, self._verbose, self._callbacks = plan, verbose, callbacks
        self._replicas = Replicas(strategy)
        self._replicas.check_batch("batch", plan.batch)
        self._replicas.check_batch("reinforce_batch", plan.reinforce_batch)
        self._labels = labels
        self._example = functools.cache(lambda row: example_of(labels[row]))
        self._unlabelled = functools.cache(
            lambda row: example_of(label_task(row, _POOL_SEED, num_ops=plan.pool_ops, mix=WIDE_MIX))
        )
        self._validation = [example_of(label) for label in validation_labels]
        self._large = [
            example_of(label_task(index, _LARGE_SEED, num_ops=_LARGE_OPS, mix=STRUCTURED))
            for index in range(_NUM_LARGE)
        ]
        optimizers = []
        with self._replicas.strategy.scope():
            self.network = build_network(plan.size)
            weights = self.network.trainable_weights
            for steps, rate in (
                (plan.imitation_steps, plan.imitation_rate),
                (plan.reinforce_decay, plan.reinforce_rate),
            ):
                falling = keras.optimizers.schedules.CosineDecay(rate, max(steps, 1), _LAST_RATE)
                optimizers.append(keras.optimizers.Adam(falling, global_clipnorm=_GENTLE))
                optimizers[-1].build(weights)
        self._imitate, self._reinforce = training_steps(self._replicas, self.network, *optimizers)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._history = folder / "validations.csv"
        self.validations = read_history(self._history)
        checkpoint = tf.train.Checkpoint(
            network=self.network,
            imitation=optimizers[0],
            reinforce=optimizers[1],
            step=self._step,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
        if self._manager.restore_or_initialize() is None:
            self.validations = []
        self._writer = tf.summary.create_noop_writer()
        if self._replicas.is_chief:
            self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    @property
    def weights(self) -> Arrays:
        """The network's weights on the grid, as `named_weights` names them."""
        return rounded_weights(named_weights(self.network))

    def run(self, deadline: float) -> None:
        """Go through what is left of all phases, until a time of `time.monotonic`.

        Raises:
            TrainingError: Another worker is lost.
        """
        with self._replicas.watched():
            self._run(deadline)

    def _run(self, deadline: float) -> None:
        plan = self.plan
        phases = (plan.imitation_steps, plan.reinforce_steps)
        steps = sum(phases)
        last = steps + (plan.head_graphs > 0)  # the choice of heads counts as one more step
        num_epochs = sum(-(-phase // plan.epoch_steps) for phase in phases) + last - steps
        self.network.stop_training = False
        self._call("set_model", self.network)
        self._call("set_params", {"epochs": num_epochs, "steps": plan.epoch_steps, "verbose": 0})
        self._call("on_train_begin", {})
        logs: dict[str, float] = {}
        while int(self._step) < last and not self._replicas.agree(
            wish=time.monotonic() >= deadline or self.network.stop_training
        ):
            epoch = len(self.validations)
            self._call("on_epoch_begin", epoch, {})
            if int(self._step) < steps:
                loss = self._epoch()
            else:
                # Clocks differ from worker to worker, and chosen heads must not.
                alone = self._replicas.num_workers == 1
                loss = self._choose_heads(deadline if alone else np.inf)
                self._step.assign(last)
            logs = self._validate(loss)
            if self._replicas.is_chief:
                self._manager.save()
            self._call("on_epoch_end", epoch, logs)
        self._call("on_train_end", logs)

    def _call(self, name: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, name)(*arguments)

    def _epoch(self) -> float:
        """The steps up to the next validation. Returns their mean loss."""
        plan, first = self.plan, int(self._step)
        imitating = first < plan.imitation_steps
        last = plan.imitation_steps + (0 if imitating else plan.reinforce_steps)
        end = min(first + plan.epoch_steps, last)
        one = self._imitation_step if imitating else self._reinforce_step
        losses = [
            one(number, np.random.default_rng([plan.seed, number])) for number in range(first, end)
        ]
        self._step.assign(end)
        return float(np.mean(losses))

    def _imitation_step(self, number: int, random: np.random.Generator) -> float:
        plan = self.plan
        rows = random.choice(len(self._labels), plan.batch)
        hot, cold = plan.heats
        heat = hot * (cold / hot) ** (number / plan.imitation_steps)
        inputs = []
        for part in self._replicas.parts(rows.tolist()):
            examples = [self._example(row) for row in part]
            inputs.append(
                (
                    *network_inputs(examples),
                    np.array([example.task.num_ops for example in examples], np.int32),
                    np.array([example.task.num_stages for example in examples], np.int32),
                    np.concatenate([example.stages for example in examples]).astype(np.int32),
                    np.float32(heat),
                    np.float32(len(part) / plan.batch),
                )
            )
        return float(self._imitate(tuple(inputs)))

    def _reinforce_step(self, number: int, random: np.random.Generator) -> float:
        """A step of REINFORCE. Returns minus the mean reward."""
        plan = self.plan
        rows = random.choice(plan.pool, plan.reinforce_batch)
        examples = [self._unlabelled(int(row)) for row in rows]
        # As many draws as if all were for this process.
        draws = [random.standard_normal((one.task.num_ops, plan.size.heads)) for one in examples]
        inputs = []
        for part in self._replicas.parts(range(len(rows))):
            few = [examples[place] for place in part]
            seen = network_inputs(few)
            scores = self.network(list(seen)).numpy().astype(np.float64)
            ends = np.cumsum([example.task.num_ops for example in few])[:-1]
            found = [
                advantages(example, one, plan.noise / example.task.num_stages, draws[place])
                for example, one, place in zip(few, np.split(scores, ends), part, strict=True)
            ]
            direction = np.concatenate([one for one, _ in found])
            reward = math.fsum(reward for _, reward in found) / len(examples)
            inputs.append(
                (*seen, (direction / len(examples)).astype(np.float32), np.float32(-reward))
            )
        return float(self._reinforce(tuple(inputs)))

    def _choose_heads(self, deadline: float) -> float:
        """Choose the last layer. Returns the mean cost of the best head."""
        plan = self.plan
        kinds = ((_STRUCTURED_OPS, STRUCTURED), (plan.pool_ops, WIDE_MIX))  # by turns
        examples = []
        for index in range(plan.head_graphs):
            num_ops, mix = kinds[index % 2]
            examples.append(example_of(label_task(index, _HEAD_SEED, num_ops=num_ops, mix=mix)))
        weights = self.weights
        network = Weights(weights, {}).network
        choice = HeadChoice(head_tasks(examples, network), network.heads, plan.seed)
        report(f"heads: mean cost {choice.mean_cost:.5f} as trained", verbose=self._verbose)
        choice.pick(plan.head_candidates, self._verbose)
        report(f"heads: mean cost {choice.mean_cost:.5f} as picked", verbose=self._verbose)
        choice.evolve(plan.head_changes, deadline, self._verbose)
        assign_weights(self.network, {**weights, "heads/kernel": choice.kernel})
        return choice.mean_cost

    def _validate(self, loss: float) -> dict[str, float]:
        """Measure, and write down what was found."""
        import tensorflow as tf

        network = Weights(self.weights, {}).network
        every = head_tasks([*self._validation, *self._large], network)
        kernel = network.heads
        costs = np.array(
            [best_others(task.example, task.inputs @ kernel)[1].min() for task in every]
        )
        rule = np.array([task.example.rule_ratio for task in every])
        labelled = len(self._validation)
        found = Validation(
            step=int(self._step),
            loss=loss,
            gap=float(costs[:labelled].mean() - 1),
            worst_gap=float(costs[:labelled].max() - 1),
            rule_gap=float(rule[:labelled].mean() - 1),
            ratio=float((costs / rule)[labelled:].mean()),
        )
        self.validations.append(found)
        if self._replicas.is_chief:
            write_history(self._history, self.validations)
        logs = dataclasses.asdict(found)
        del logs["step"]
        with self._writer.as_default(step=found.step):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        report(
            f"step {found.step}: loss {loss:.4f}, gap {found.gap:.2%} (rule {found.rule_gap:.2%}), "
            f"larger graphs {found.ratio:.4f} of the rule",
            verbose=self._verbose,
        )
        return logs
