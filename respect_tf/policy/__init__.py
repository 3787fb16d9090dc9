"""The policy: a graph neural network that proposes orders of ops, and search around them."""

from respect_tf.policy._evaluate import OrderCosts, evaluate, evaluation_rows
from respect_tf.policy._guide import Guidance, guide, solve_policy_greedy
from respect_tf.policy._labels import (
    Label,
    LabelTask,
    label_files,
    label_task,
    load_labels,
    make_labels,
)
from respect_tf.policy._plan import TrainingPlan, Validation
from respect_tf.policy._pointer import PointerPlan, PointerValidation, train_pointer
from respect_tf.policy._records import make_records, read_records, write_records
from respect_tf.policy._train import save_trained, train
from respect_tf.policy._weights import Weights, load_weights, save_weights

__all__ = [
    "Guidance",
    "Label",
    "LabelTask",
    "OrderCosts",
    "PointerPlan",
    "PointerValidation",
    "TrainingPlan",
    "Validation",
    "Weights",
    "evaluate",
    "evaluation_rows",
    "guide",
    "label_files",
    "label_task",
    "load_labels",
    "load_weights",
    "make_labels",
    "make_records",
    "read_records",
    "save_trained",
    "save_weights",
    "solve_policy_greedy",
    "train",
    "train_pointer",
    "write_records",
]
