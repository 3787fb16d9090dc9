"""Training the policy: synthetic graphs, labels, the TF-GNN network, its trainer, evaluation."""

from respect_tf.training._evaluate import (
    evaluate,
    evaluation_rows,
    least_cost,
    noisy_orders,
    proposal_costs,
)
from respect_tf.training._generators import FAMILIES, random_graph
from respect_tf.training._heads import head_tasks
from respect_tf.training._label_files import (
    label_files,
    load_all_labels,
    load_labels,
    read_records,
    write_records,
)
from respect_tf.training._label_shards import LabelRun, run_labels, solve_task
from respect_tf.training._labels import (
    UNPROVED,
    WIDE_MIX,
    WIDE_OPS,
    Example,
    Label,
    LabelTask,
    example_of,
    label_task,
)
from respect_tf.training._network import NetworkSize, build_network, named_weights
from respect_tf.training._plan import TrainingPlan, Validation, save_trained
from respect_tf.training._replicas import one_thread, strategy_of
from respect_tf.training._respect import (
    RespectPlan,
    RespectRun,
    cosine_reward,
)
from respect_tf.training._trainer import train

__all__ = [
    "FAMILIES",
    "UNPROVED",
    "WIDE_MIX",
    "WIDE_OPS",
    "Example",
    "Label",
    "LabelRun",
    "LabelTask",
    "NetworkSize",
    "RespectPlan",
    "RespectRun",
    "TrainingPlan",
    "Validation",
    "build_network",
    "cosine_reward",
    "evaluate",
    "evaluation_rows",
    "example_of",
    "head_tasks",
    "label_files",
    "label_task",
    "least_cost",
    "load_all_labels",
    "load_labels",
    "named_weights",
    "noisy_orders",
    "one_thread",
    "proposal_costs",
    "random_graph",
    "read_records",
    "run_labels",
    "save_trained",
    "solve_task",
    "strategy_of",
    "train",
    "write_records",
]
