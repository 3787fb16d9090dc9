"""The examination tells Google's pycoral from the package of that name on PyPI."""

import importlib.metadata
import sys

import pytest

from respect_tf.report import examine_installation


def _finding(name: str):
    return next(finding for finding in examine_installation() if finding.name == name)


@pytest.mark.parametrize(("subpackage", "status"), [("pipeline", "ok"), ("something", "optional")])
def test_pycoral_is_told_by_its_content_and_not_imported(tmp_path, monkeypatch, subpackage, status):
    (tmp_path / "pycoral" / subpackage).mkdir(parents=True)
    (tmp_path / "pycoral" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pycoral", raising=False)
    assert _finding("pycoral").status == status


@pytest.mark.parametrize(
    ("version", "status", "found"),
    [("16.0.384591198", "ok", "16.0.384591198, {program}"), ("2.1.302470888", "optional", "unfit")],
)
def test_a_compiler_on_the_path_is_asked_for_its_version(
    tmp_path, monkeypatch, version, status, found
):
    program = tmp_path / "edgetpu_compiler"
    program.write_text(f"#!/bin/sh\necho Edge TPU Compiler version {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    finding = _finding("edgetpu_compiler")
    assert (finding.status, finding.found) == (status, found.format(program=program))


def test_a_missing_extra_is_no_fault_and_says_how_to_install_it(monkeypatch):
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    for name, extra in {"tensorflow-gnn": "train", "cvxpy": "train", "matplotlib": "plots"}.items():
        finding = _finding(name)
        assert finding.status == "optional"
        assert f"pip install 'respect-tf[{extra}]'" in finding.remedy
    assert _finding("highspy").status == "missing"


def test_what_is_required_is_installed_here():
    assert all(finding.status != "missing" for finding in examine_installation())
