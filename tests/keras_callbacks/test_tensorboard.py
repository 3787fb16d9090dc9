"""What the callbacks log is read by TensorBoard, which starts here."""

import importlib.metadata
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_callbacks import StageBalance

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.mark.slow
def test_tensorboard_starts_and_finds_what_was_logged(tmp_path):
    try:
        version = importlib.metadata.version("tensorboard")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("TensorBoard is not installed")
    if tuple(map(int, version.split(".")[:2])) < (2, 21):
        pytest.skip("up to 2.20 it needs pkg_resources: see docs/troubleshooting.md")
    keras.utils.set_random_seed(0)
    start = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3)(start))
    model = keras.Model(start, keras.layers.GlobalAveragePooling2D()(tensor))
    model.compile("sgd", "mse")
    x, y = np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, 4), np.float32)
    logs = keras.callbacks.TensorBoard(str(tmp_path))
    balance = StageBalance(2)
    model.fit(x, y, verbose=0, callbacks=[balance, logs])
    command = [sys.executable, "-m", "tensorboard.main", "--inspect", "--logdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "epoch_loss" in done.stdout
    assert "epoch_stage_balance" in done.stdout or "epoch_predicted" in done.stdout
