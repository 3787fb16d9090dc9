"""Trains a very small network, on one of several workers or alone; prints what came of it."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from respect_tf import TrainingError
from respect_tf.training import (
    NetworkSize,
    TrainingPlan,
    _trainer,
    label_task,
    strategy_of,
    train,
)
from respect_tf.training._label_shards import search_task

PLAN = TrainingPlan(
    imitation_steps=2,
    reinforce_steps=2,
    head_graphs=0,
    batch=3,
    reinforce_batch=3,
    pool=4,
    pool_ops=(30, 32),
    epoch_steps=2,
    size=NetworkSize(units=8, rounds=1, heads=4),
)


class Stop:
    """Ends the process at the end of an epoch, as a machine does that is switched off."""

    def __init__(self, epoch):
        self._epoch = epoch

    def __getattr__(self, name):
        return lambda *arguments: None

    def on_epoch_end(self, epoch, logs):
        if epoch == self._epoch:
            os._exit(9)


def mirrored():
    """Two replicas on two devices that share this machine's processor."""
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main(folder, epoch):
    _trainer._NUM_LARGE = 2
    strategy = strategy_of("workers") if "TF_CONFIG" in os.environ else None
    if Path(folder).name == "mirrored":
        strategy = mirrored()
    else:  # tracing would take longer than these few steps do without it
        tf.function = lambda function, **_: function
    labels = [search_task(label_task(index, 7, mix=("hrnet", "unet"))) for index in range(4)]
    callbacks = [Stop(int(epoch))] if int(epoch) >= 0 else []
    try:
        weights, validations = train(
            folder, labels, labels, PLAN, strategy=strategy, callbacks=callbacks, verbose=0
        )
    except TrainingError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        os._exit(3)
    np.savez(Path(folder) / f"weights-{os.getpid()}.npz", **weights)
    gaps = [[found.step, found.loss, found.gap, found.ratio] for found in validations]
    print(json.dumps({"validations": gaps, "process": os.getpid()}), flush=True)
    os._exit(0)  # without waiting for the others


if __name__ == "__main__":
    main(*sys.argv[1:])
