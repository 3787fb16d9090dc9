"""Work on many items by Apache Beam: on this machine's cores, or on a cluster, from the same code.

Each item's results are files of its own, written whole or not at all, under names that depend on
the item alone. So a run that was killed is continued by the same command, whichever runner takes it
up, and the files are the same as if nothing had happened. Items that fail are named in a folder of
their own, with the reason, and are tried again by the next run.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from respect_tf._errors import ArgumentError, RespectError
from respect_tf._fields import finite
from respect_tf._places import Place, load_beam, place_of
from respect_tf._reporting import Verbosity, progress

Item = dict[str, Any]

FAILED = "failed"
"""Folder of the reasons of what failed."""


@dataclasses.dataclass(frozen=True)
class Job:
    """An item, and what will be there once it is done.

    Attributes:
        name: A name of its own, for the file of its failure.
        outputs: Names of files that it leaves.
        item: What the work needs to know: values of JSON.
    """

    name: str
    outputs: tuple[str, ...]
    item: Item


@dataclasses.dataclass(frozen=True)
class Done:
    """What the work on an item gave.

    Attributes:
        files: Contents by name: the outputs of the job, and others.
        counts: What Beam's counters count besides items.
    """

    files: Mapping[str, bytes]
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)


Work = Callable[[Item, Place], Done]


@dataclasses.dataclass(frozen=True)
class MapResult:
    """What became of the items.

    Attributes:
        failures: Reason of each item that failed, by its place.
        num_kept: Number of items that an earlier run had done.
    """

    failures: dict[int, str]
    num_kept: int


def map_items(
    work: Work,
    jobs: Sequence[Job],
    folder: str,
    *,
    beam_options: Sequence[str] = (),
    num_processes: int = 1,
    verbose: Verbosity = "auto",
) -> MapResult:
    """Work on items one after the other, in several processes, or on a cluster.

    Args:
        work: A function of a module, known by its name in each process. It takes an item and the
            folder; what it raises of this package's errors makes the item a failure.
        jobs: The items. Those whose outputs are all there are left alone.
        folder: Where files go: a path, or an address that Beam knows, such as `gs://...`. All
            processes must reach it.
        beam_options: Ordinary options of Beam, such as `--runner=FlinkRunner`.
        num_processes: Where they name no runner, the number of processes of this machine: of Beam's
            in-process runner; a single one needs no Beam.
        verbose: 0 is silence.

    Returns:
        What failed, and what was there.

    Raises:
        ArgumentError: `num_processes` is not 1 or more; workers write where this process does not
            read.
        DependencyError: Apache Beam is needed and not installed.
        SavedPipelineError: The folder cannot be written.
    """
    if isinstance(num_processes, bool) or not isinstance(num_processes, int) or num_processes < 1:
        raise ArgumentError(f"num_processes must be 1 or more. Received: {num_processes!r}.")
    place = place_of(folder)
    there = _there(place, jobs)
    missing = [job for job in jobs if not _is_done(job, there)]
    if missing:
        texts = [json.dumps([job.name, job.outputs, job.item]) for job in missing]
        with progress(f"Working on {len(missing):,} items", verbose=verbose) as show:
            if num_processes == 1 and not beam_options:
                for number, text in enumerate(texts):
                    show(f"{number:,} of {len(texts):,}")
                    _work_on(text, work, place)
            else:
                _run(load_beam(), work, texts, place.folder, _options(beam_options, num_processes))
    there = _there(place, jobs)
    failures = {
        number: str(json.loads(place.read(_failure(job.name)))["error"])
        for number, job in enumerate(jobs)
        if _failure(job.name) in there and not _is_done(job, there)
    }
    for number, job in enumerate(jobs):
        if number not in failures and not _is_done(job, there):
            raise ArgumentError(
                f"'{place.folder}' does not hold {job.outputs[0]}: the workers write where this "
                "process does not read. Give a folder that all of them reach."
            )
    return MapResult(failures, len(jobs) - len(missing))


def _is_done(job: Job, there: set[str]) -> bool:
    return there.issuperset(job.outputs)


def _there(place: Place, jobs: Sequence[Job]) -> set[str]:
    """Names of all files that jobs may have left."""
    folders = {FAILED, *(name.rpartition("/")[0] for job in jobs for name in job.outputs)}
    return set().union(*(place.names(folder) for folder in folders))


def _failure(name: str) -> str:
    return f"{FAILED}/{name}.json"


def _options(given: Sequence[str], num_processes: int) -> list[str]:
    if any(option.startswith("--runner") for option in given):
        return list(given)
    mode = "in_memory" if num_processes == 1 else "multi_processing"
    return [
        *given,
        "--runner=DirectRunner",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={num_processes}",
        "--default_sdk_harness_log_level=WARNING",
    ]


def _run(beam: Any, work: Work, texts: Sequence[str], folder: str, options: list[str]) -> None:
    pipeline_options = importlib.import_module("apache_beam.options.pipeline_options")
    function = f"{work.__module__}:{work.__qualname__}"
    with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as pipeline:
        (
            pipeline
            | beam.Create(texts, reshuffle=False)
            | beam.Reshuffle()
            | beam.Map(work_on_item, function, folder)
        )


def work_on_item(text: str, function: str, folder: str) -> None:
    """What a process of Beam's does with an item: write its files, or why there are none.

    Args:
        text: A job, as JSON.
        function: `module:name` of the function.
        folder: Where files go.
    """
    metrics = importlib.import_module("apache_beam.metrics")
    module, _, attribute = function.partition(":")
    work = getattr(importlib.import_module(module), attribute)
    for name, count in _work_on(text, work, place_of(folder)).items():
        metrics.Metrics.counter("respect_tf", name).inc(count)


def _work_on(text: str, work: Work, place: Place) -> dict[str, int]:
    """Work on an item, and write what comes of it. Returns what is to be counted."""
    name, outputs, item = json.loads(text)
    failure = _failure(name)
    try:
        done = work(item, place)
    except RespectError as error:
        reason = {"item": item, "error": f"{type(error).__name__}: {error}"}
        place.write(failure, as_json(reason))
        return {"failed": 1}
    # Outputs come last: once they are there, so is the rest.
    for file in sorted(done.files, key=lambda file: file in outputs):
        place.write(file, done.files[file])
    if failure not in done.files:
        place.remove(failure)
    return {"done": 1, **done.counts}


def as_json(figures: Any) -> bytes:
    """Figures as JSON, the same bytes for the same figures."""
    return json.dumps(finite(figures), sort_keys=True, indent=1).encode()
