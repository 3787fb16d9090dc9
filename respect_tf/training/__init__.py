"""Training the policy: synthetic graphs, labels, the TF-GNN network, its trainer, evaluation."""

from respect_tf.training._evaluate import OrderCosts, evaluate, evaluation_rows
from respect_tf.training._generators import FAMILIES, random_graph
from respect_tf.training._labels import (
    Label,
    LabelTask,
    label_files,
    label_task,
    load_labels,
    make_labels,
)
from respect_tf.training._plan import TrainingPlan, Validation
from respect_tf.training._pointer import PointerPlan, PointerValidation, train_pointer
from respect_tf.training._records import make_records, read_records, write_records
from respect_tf.training._train import save_trained, train

__all__ = [
    "FAMILIES",
    "Label",
    "LabelTask",
    "OrderCosts",
    "PointerPlan",
    "PointerValidation",
    "TrainingPlan",
    "Validation",
    "evaluate",
    "evaluation_rows",
    "label_files",
    "label_task",
    "load_labels",
    "make_labels",
    "make_records",
    "random_graph",
    "read_records",
    "save_trained",
    "train",
    "train_pointer",
    "write_records",
]
