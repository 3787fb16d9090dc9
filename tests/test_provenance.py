"""What made a pipeline."""

import importlib.metadata

from respect_tf._provenance import installed_version, provenance


def test_a_package_by_another_name_is_known_by_its_module(monkeypatch):
    import numpy as np

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert installed_version("numpy") == np.__version__
    assert installed_version("no_such_package") is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert provenance({"seed": 1}, {"seed": 0}).startswith("1970-01-01 by respect_tf ")
