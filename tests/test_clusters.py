"""A cluster engine does what one process does; skipped where there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("apache_beam")
pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

_PROGRAM = """
import json, sys
from distributed import LocalCluster
from respect_tf.training import run_labels

if __name__ == "__main__":
    folder = sys.argv[1]
    small = {"num_ops": (30, 30), "mix": ("resnet",), "exact": False, "records": False}
    plain = run_labels(folder + "/plain", 1000, verbose=0, **small)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        options = [
            "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
            f"--dask_client_address={cluster.scheduler_address}",
        ]
        dask = run_labels(folder + "/dask", 1000, beam_options=options, verbose=0, **small)
    print(json.dumps([plain.labels, dask.labels, dask.num_kept]))
"""


def test_two_workers_of_dask_make_the_files_of_the_plain_loop(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    plain, dask, kept = json.loads(done.stdout.splitlines()[-1])
    assert plain == dask == ["labels-0-00000.npz", "labels-0-00001.npz"]
    assert kept == 0
    for name in plain:
        one, two = (Path(tmp_path / folder / name).read_bytes() for folder in ("plain", "dask"))
        assert one == two
