"""Work on many items by Apache Beam: on this machine's cores, or on a cluster, from the same code.

Each item's result is a file of its own, written whole or not at all, under a name that depends on
the item alone. So a run that was killed is continued by the same command, whichever runner takes it
up, and the files are the same as if nothing had happened. Items that fail go to a folder of their
own, with the reason, and are tried again by the next run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

from respect_tf._errors import ArgumentError, DependencyError, RespectError
from respect_tf._fields import finite
from respect_tf._reporting import Verbosity, progress

Item = dict[str, Any]

_DONE, _FAILED = "done", "failed"


@dataclasses.dataclass(frozen=True)
class MapResult:
    """What became of the items.

    Attributes:
        results: Of each item, in their order; None for those that failed.
        failures: Reason of each item that failed, by its place.
        num_kept: Number of results that an earlier run had left.
    """

    results: tuple[Item | None, ...]
    failures: dict[int, str]
    num_kept: int


def map_items(
    work: Callable[[Item], Item],
    items: Sequence[Item],
    folder: str,
    *,
    beam_options: Sequence[str] = (),
    num_processes: int = 1,
    verbose: Verbosity = "auto",
) -> MapResult:
    """Apply a function to items, in processes or on a cluster.

    Args:
        work: A function of a module, known by its name in each process. It takes and returns values
            of JSON; what it raises of this package's errors makes the item a failure.
        items: Values of JSON.
        folder: Where results go: a path, or an address that Beam knows, such as `gs://...`. All
            processes must reach it.
        beam_options: Ordinary options of Beam, such as `--runner=FlinkRunner`. Without a runner,
            Beam's in-process one with processes of this machine.
        num_processes: Number of those.
        verbose: 0 is silence.

    Returns:
        The results.

    Raises:
        ArgumentError: `num_processes` is not 1 or more.
        DependencyError: Apache Beam is not installed.
    """
    if isinstance(num_processes, bool) or not isinstance(num_processes, int) or num_processes < 1:
        raise ArgumentError(f"num_processes must be 1 or more. Received: {num_processes!r}.")
    beam = _load_beam()
    names = [_name(number, item) for number, item in enumerate(items)]
    kept = _existing(folder, _DONE)
    missing = [(name, item) for name, item in zip(names, items, strict=True) if name not in kept]
    if missing:
        options = list(beam_options)
        if not any(option.startswith("--runner") for option in options):
            mode = "in_memory" if num_processes == 1 else "multi_processing"
            options += [
                "--runner=DirectRunner",
                f"--direct_running_mode={mode}",
                f"--direct_num_workers={num_processes}",
                "--default_sdk_harness_log_level=WARNING",
            ]
        with progress(f"Working on {len(missing):,} items", verbose=verbose):
            _run(beam, work, missing, folder, options)
    return _gathered(folder, names, len(kept & set(names)))


def _load_beam() -> Any:
    try:
        return importlib.import_module("apache_beam")
    except ImportError as error:
        raise DependencyError(
            "Apache Beam is not installed, which works on many items at once. Install it: "
            "pip install 'respect-tf[beam]'."
        ) from error


def _file_systems() -> Any:
    """Beam's files, here and elsewhere."""
    return importlib.import_module("apache_beam.io.filesystems").FileSystems


def _run(
    beam: Any, work: Callable[[Item], Item], items: Sequence[Any], folder: str, options: list[str]
) -> None:
    pipeline_options = importlib.import_module("apache_beam.options.pipeline_options")
    function = f"{work.__module__}:{work.__qualname__}"
    with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as pipeline:
        (
            pipeline
            | beam.Create([json.dumps(item) for item in items], reshuffle=False)
            | beam.Reshuffle()
            | beam.Map(work_on_item, function, folder)
        )


def work_on_item(text: str, function: str, folder: str) -> None:
    """What a process of Beam's does with an item: write its result, or why there is none.

    Args:
        text: Name and item, as JSON.
        function: `module:name` of the function.
        folder: Where results go.
    """
    metrics = importlib.import_module("apache_beam.metrics")
    name, item = json.loads(text)
    module, _, attribute = function.partition(":")
    work = getattr(importlib.import_module(module), attribute)
    try:
        place, result = _DONE, work(item)
    except RespectError as error:
        place, result = _FAILED, {"error": f"{type(error).__name__}: {error}"}
    metrics.Metrics.counter("respect_tf", place).inc()
    content = json.dumps(finite({"item": item, "result": result}), sort_keys=True, indent=1)
    _write(posixpath.join(folder, place, name), content.encode())
    if place == _DONE:
        _remove(posixpath.join(folder, _FAILED, name))


def _write(path: str, content: bytes) -> None:
    files = _file_systems()
    parent = posixpath.dirname(path)
    if not files.exists(parent):
        try:
            files.mkdirs(parent)
        except OSError:  # another process has just made it
            if not files.exists(parent):
                raise
    # Two processes that work on the same item write the same bytes.
    partial = f"{path}.{hashlib.sha256(content).hexdigest()[:8]}.partial"
    with files.create(partial) as file:
        file.write(content)
    files.rename([partial], [path])


def _remove(path: str) -> None:
    files = _file_systems()
    if files.exists(path):
        files.delete([path])


def _existing(folder: str, place: str) -> set[str]:
    """Names of the results that are there."""
    files = _file_systems()
    if not files.exists(posixpath.join(folder, place)):
        return set()
    (found,) = files.match([posixpath.join(folder, place, "*.json")])
    return {posixpath.basename(one.path) for one in found.metadata_list}


def _gathered(folder: str, names: Sequence[str], num_kept: int) -> MapResult:
    files = _file_systems()
    failed = _existing(folder, _FAILED)
    results: list[Item | None] = []
    failures: dict[int, str] = {}
    for number, name in enumerate(names):
        place = _FAILED if name in failed else _DONE
        path = posixpath.join(folder, place, name)
        if not files.exists(path):
            raise ArgumentError(
                f"'{path}' is missing: the workers write where this process does not read. Give a "
                "folder that all of them reach."
            )
        with files.open(path) as file:
            found = json.loads(file.read())["result"]
        results.append(None if place == _FAILED else found)
        if place == _FAILED:
            failures[number] = str(found["error"])
    return MapResult(tuple(results), failures, num_kept)


def _name(number: int, item: Item) -> str:
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]
    return f"{number:07d}-{digest}.json"
