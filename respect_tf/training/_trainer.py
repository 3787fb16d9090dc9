"""The loop of training: imitation of labels, REINFORCE, then the choice of the last layer."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._reporting import Verbosity, report
from respect_tf.graph import graph_tensor_spec, load_tf_keras, load_tfgnn
from respect_tf.policy import Weights, rounded_weights
from respect_tf.training._examples import Example, example_of, merged_tensor, rule_ranks
from respect_tf.training._heads import HeadChoice, head_tasks
from respect_tf.training._labels import STRUCTURED, WIDE_MIX, Label, label_task
from respect_tf.training._losses import imitation_loss, reinforce_loss
from respect_tf.training._network import assign_weights, build_network, named_weights
from respect_tf.training._plan import TrainingPlan, Validation, read_history, write_history
from respect_tf.training._replicas import Replicas
from respect_tf.training._samples import advantages, best_others

Arrays = dict[str, npt.NDArray[np.float32]]

_NUM_LARGE = 60  # graphs without labels in a validation
_LARGE_OPS = (100, 300)
# One of so many graphs that heads are chosen on is a structured one, of so many ops.
# benchmarks constants: read by no case that was run.
_PER_STRUCTURED, _STRUCTURED_OPS = 2, (50, 500)
# Of their sequences: labels have 0, 1 and 2.
_LARGE_SEED, _POOL_SEED, _HEAD_SEED = 3, 4, 5
# benchmarks constants: read by no case that was run.
_GENTLE = 1.0  # gradients are cut off at this norm
# benchmarks constants: read by no case that was run.
_LAST_RATE = 0.05


class Trainer:
    """A run of training; see `respect_tf.training.train`.

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
        self._imitate, self._reinforce = _steps(self._replicas, self.network, *optimizers)
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
        for callback in self._callbacks:
            callback.set_model(self.network)
            callback.set_params({"epochs": num_epochs, "steps": plan.epoch_steps, "verbose": 0})
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
                    *_network_inputs(examples),
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
            seen = _network_inputs(few)
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
        examples = [
            example_of(
                label_task(index, _HEAD_SEED, num_ops=_STRUCTURED_OPS, mix=STRUCTURED)
                if index % _PER_STRUCTURED == 0
                else label_task(index, _HEAD_SEED, num_ops=plan.pool_ops, mix=WIDE_MIX)
            )
            for index in range(plan.head_graphs)
        ]
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
        rule = np.array([task.rule_cost for task in every])
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


def _network_inputs(examples: Sequence[Example]) -> tuple[Any, npt.NDArray[np.float32]]:
    return merged_tensor(examples), np.concatenate([rule_ranks(one) for one in examples])


def _steps(
    replicas: Replicas, network: Any, imitation: Any, reinforce: Any
) -> tuple[Callable[[Any], Any], ...]:
    """One step of imitation and one of REINFORCE, as TensorFlow functions."""
    import tensorflow as tf

    weights = network.trainable_weights
    graphs = [graph_tensor_spec(), tf.TensorSpec([None, 1])]
    numbers = [tf.TensorSpec([None], tf.int32)] * 3

    def descend(tape: Any, loss: Any, optimizer: Any) -> None:
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def imitate(
        tensor: Any, ranks: Any, num_ops: Any, num_stages: Any, stages: Any, heat: Any, share: Any
    ) -> Any:
        with tf.GradientTape() as tape:
            loss = imitation_loss(network([tensor, ranks]), num_ops, num_stages, stages, heat)
            loss *= share
        descend(tape, loss, imitation)
        return loss

    def improve(tensor: Any, ranks: Any, direction: Any, cost: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = reinforce_loss(network([tensor, ranks]), direction)
        descend(tape, loss, reinforce)
        return cost

    return (
        replicas.together(imitate, [*graphs, *numbers, tf.TensorSpec([]), tf.TensorSpec([])]),
        replicas.together(improve, [*graphs, tf.TensorSpec([None, None]), tf.TensorSpec([])]),
    )
