"""Training on several workers: the same run as with one, and what happens when one is lost."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from respect_tf import ArgumentError
from respect_tf.training import strategy_of
from respect_tf.training._replicas import Replicas

PROGRAM = Path(__file__).parent / "replica_program.py"
# Weights are rounded to a grid of 2**-14, after float32 sums in another order.
TOLERANCE = 2.0**-12


def start(folder, epoch=-1, config=None):
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(folder), str(epoch)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def two(folder, epochs=(-1, -1)):
    """Exit codes and what two workers on loopback printed."""
    with socket.socket() as one, socket.socket() as other:
        for found in (one, other):
            found.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{found.getsockname()[1]}" for found in (one, other)]
    workers = [
        start(folder, epoch, {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}})
        for i, epoch in enumerate(epochs)
    ]
    return [end(worker) for worker in workers]


def end(worker):
    output, errors = worker.communicate(timeout=900)
    printed = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert printed or worker.returncode == 9, errors
    return worker.returncode, printed[-1] if printed else None


def weights(folder, printed):
    with np.load(folder / f"weights-{printed['process']}.npz") as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_replicas_and_workers_do_what_one_does_and_go_on_after_one_is_lost(tmp_path):
    code, alone = end(start(tmp_path / "alone"))
    assert code == 0
    assert [row[0] for row in alone["validations"]] == [2, 4]
    expected = weights(tmp_path / "alone", alone)

    def check(folder, printed):
        np.testing.assert_allclose(printed["validations"], alone["validations"], rtol=TOLERANCE)
        for name, array in weights(folder, printed).items():
            np.testing.assert_allclose(array, expected[name], atol=TOLERANCE)

    code, mirrored = end(start(tmp_path / "mirrored"))
    assert code == 0
    check(tmp_path / "mirrored", mirrored)
    # The second worker is lost at the end of the first epoch: the first one says so.
    shared = tmp_path / "shared"
    (code, first), (lost, _) = two(shared, epochs=(-1, 0))
    assert (code, lost) == (3, 9)
    assert "One of 2 workers does not answer" in first["error"]
    assert "Start the same command again" in first["error"]
    # Started again, both go on from there.
    (code, first), (other, second) = two(shared)
    assert (code, other) == (0, 0)
    assert (shared / "validations.csv").read_text().count("\n") == 3
    for printed in (first, second):
        check(shared, printed)


def test_bad_requests_are_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="mirrored, workers"):
        strategy_of("cluster")
    for config in ("", "{}", '{"cluster": {"worker": []}, "task": {"index": 0}}'):
        monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ArgumentError, match="TF_CONFIG"):
            strategy_of("workers")
    with pytest.raises(ArgumentError, match="batch must be 1 or more"):
        Replicas().check_batch("batch", 0)


def test_parts_of_a_batch_are_all_of_it():
    class Strategy:
        cluster_resolver = None
        num_replicas_in_sync = 3

    assert Replicas(Strategy()).parts(range(8)) == [[0, 3, 6], [1, 4, 7], [2, 5]]
