"""What a run of training does, and what it finds on the way."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from respect_tf._files import write_file
from respect_tf.graph import schema_text
from respect_tf.policy import Arrays, Weights, save_weights
from respect_tf.training._network import NetworkSize


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What a run of training does. The same plan and labels give the same run.

    Attributes:
        seed: Of weights, batches and samples.
        imitation_steps: Steps of imitation.
        reinforce_steps: Steps of REINFORCE after them.
        head_graphs: Graphs without labels on which the heads are chosen in the end, every other one
            of them a structured and larger one; none for leaving the heads as they are.
        head_candidates: Heads to pick from, the trained ones among them.
        head_changes: Changes of heads that are tried after that.
        batch: Labels in a step of imitation.
        reinforce_batch: Graphs in a step of REINFORCE.
        imitation_rate: Learning rate of Adam; it falls to a twentieth along a cosine.
        reinforce_rate: Likewise, along a cosine of `reinforce_decay` steps.
        reinforce_decay: See there; steps beyond have the last rate.
        heats: How many heads learn from a label, at first and in the end: see `imitation_loss`.
        noise: Standard deviation of scores that are drawn, in stages.
        pool: Number of graphs without labels that REINFORCE draws from.
        pool_ops: Fewest and most ops of graphs without labels.
        epoch_steps: Steps between validations and checkpoints.
        size: The network.
    """

    seed: int = 0
    imitation_steps: int = 300
    reinforce_steps: int = 40
    head_graphs: int = 1200
    head_candidates: int = 1024
    head_changes: int = 400
    batch: int = 64
    reinforce_batch: int = 32
    imitation_rate: float = 2e-3
    reinforce_rate: float = 5e-4
    reinforce_decay: int = 700
    heats: tuple[float, float] = (0.02, 0.005)
    noise: float = 0.15
    pool: int = 2000
    pool_ops: tuple[int, int] = (30, 150)
    epoch_steps: int = 100
    size: NetworkSize = dataclasses.field(default_factory=NetworkSize)


@dataclasses.dataclass(frozen=True)
class Validation:
    """How good proposals are on graphs that training never sees.

    Attributes:
        step: Steps so far.
        loss: Mean of the loss since the last one; with REINFORCE, minus the mean gain of samples.
        gap: Mean of cost / label's cost - 1 of the best head's order or the rule's, on labelled
            graphs.
        worst_gap: The largest of these.
        rule_gap: The mean for the rule's order alone.
        ratio: Mean of cost / cost of the rule's order, on larger graphs.
    """

    step: int
    loss: float
    gap: float
    worst_gap: float
    rule_gap: float
    ratio: float


def read_history(path: Path) -> list[Validation]:
    """The validations that `write_history` wrote; none where there is no file."""
    if not path.exists():
        return []
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return [Validation(int(row[0]), *map(float, row[1:])) for row in rows]


def write_history(path: Path, validations: Sequence[Validation]) -> None:
    """Write validations as comma-separated values with a header."""
    names = [field.name for field in dataclasses.fields(Validation)]
    rows = [names, *(map(repr, dataclasses.astuple(found)) for found in validations)]
    write_file(path, "".join(",".join(row) + "\n" for row in rows).encode())


def save_trained(
    path: str | os.PathLike[str],
    weights: Arrays,
    plan: TrainingPlan,
    validations: Sequence[Validation],
    *,
    data: str,
    commit: str = "",
) -> Path:
    """Write what `train` returned, with the schema of graphs and a card of where it comes from.

    The data are what was trained on, in words; the commit is that of this package's source. Returns
    the path.
    """
    card = {
        "data": data,
        "seed": plan.seed,
        "commit": commit,
        "plan": dataclasses.asdict(plan),
        "metrics": dataclasses.asdict(validations[-1]),
    }
    save_weights(path, Weights(weights, card, schema_text()))
    return Path(path)
