"""What all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every CI run: a new one that fails is for whoever runs the tests at home.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
# No test may depend on how fast a machine is, so no example has a deadline.
settings.register_profile("home", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    """Seed the layers of both Keras packages, where a test has imported them."""
    for name in ("keras", "tf_keras"):
        if name in sys.modules:
            sys.modules[name].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Public models and measurements that lie beside the project on some machines."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data is not beside the project")
    return folder
