"""The policy: a graph neural network that proposes orders of ops, and search around them."""

from respect_tf.policy._evaluate import OrderCosts, evaluate
from respect_tf.policy._guide import Guidance, guide, solve_policy_greedy
from respect_tf.policy._labels import Label, LabelTask, label_task, load_labels, make_labels
from respect_tf.policy._plan import TrainingPlan, Validation
from respect_tf.policy._records import read_records, write_records
from respect_tf.policy._train import train
from respect_tf.policy._weights import Weights, load_weights, save_weights

__all__ = [
    "Guidance",
    "Label",
    "LabelTask",
    "OrderCosts",
    "TrainingPlan",
    "Validation",
    "Weights",
    "evaluate",
    "guide",
    "label_task",
    "load_labels",
    "load_weights",
    "make_labels",
    "read_records",
    "save_weights",
    "solve_policy_greedy",
    "train",
    "write_records",
]
