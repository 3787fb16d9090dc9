"""What a run of training does, and what it finds on the way."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._files import write_file
from respect_tf.training._network import NetworkSize


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What a run of training does. The same plan and labels give the same run.

    Attributes:
        seed: Of weights, batches and samples.
        imitation_steps: Steps of imitation.
        reinforce_steps: Steps of REINFORCE after them.
        imitation_batch: Labels in a step.
        reinforce_batch: Graphs in a step.
        samples: Orders that are drawn of each graph.
        imitation_rate: Learning rate of Adam.
        reinforce_rate: Likewise; it falls to a tenth along a cosine.
        ordering_share: What the order of the labels' stages counts in imitation, beside their
            places and the choice of a structural order. Nothing: many schedules are as good as the
            one that a label has, and imitating its order made greedy orders worse.
        reward: `"cost"`, minus the relative cost of an order's best cut, or `"cosine"`, that of
            RESPECT, which needs labels.
        pool: Number of graphs without labels, which the choice of an order is learned from, and
            REINFORCE with the reward `"cost"`.
        pool_ops: Fewest and most ops of these.
        epoch_steps: Steps between validations, checkpoints and tests of the baseline.
        patience: Validations without a better one after which a phase ends.
        size: The network.
    """

    seed: int = 0
    imitation_steps: int = 1800
    reinforce_steps: int = 900
    imitation_batch: int = 32
    reinforce_batch: int = 24
    samples: int = 12
    imitation_rate: float = 5e-4
    reinforce_rate: float = 1e-4
    ordering_share: float = 0.0
    reward: Literal["cost", "cosine"] = "cost"
    pool: int = 2000
    pool_ops: tuple[int, int] = (30, 160)
    epoch_steps: int = 150
    patience: int = 30
    size: NetworkSize = dataclasses.field(default_factory=NetworkSize)

    def __post_init__(self) -> None:
        if self.reward not in ("cost", "cosine"):
            raise ArgumentError(f'reward must be "cost" or "cosine". Received: {self.reward!r}.')


@dataclasses.dataclass(frozen=True)
class Validation:
    """How good greedy orders are on graphs that training never sees.

    Attributes:
        step: Steps so far.
        gap: Mean of cost / label's cost - 1, on labelled graphs.
        worst_gap: The largest of these.
        file_gap: The mean for the file's order.
        ratio: Geometric mean of cost / cost of the file's order, on larger graphs.
    """

    step: int
    gap: float
    worst_gap: float
    file_gap: float
    ratio: float

    @property
    def score(self) -> float:
        """What is to be low."""
        return float(np.log1p(self.gap) + np.log(self.ratio))


def read_history(path: Path) -> list[Validation]:
    """The validations that `write_history` wrote; none where there is no file."""
    if not path.exists():
        return []
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return [Validation(int(row[0]), *map(float, row[1:])) for row in rows]


def write_history(path: Path, validations: Sequence[Validation]) -> None:
    """Write validations as comma-separated values with a header."""
    names = [field.name for field in dataclasses.fields(Validation)]
    rows = [[repr(getattr(found, name)) for name in names] for found in validations]
    text = "\n".join(",".join(row) for row in itertools.chain([names], rows)) + "\n"
    write_file(path, text.encode())
