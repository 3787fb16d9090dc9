"""Commands about the policy: labels, training, evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from respect_tf._cli_common import (
    EXISTING,
    EXISTING_FILE,
    NEW_FOLDER,
    beam_option,
    failing,
    json_option,
    print_json,
    processes_option,
    quiet_option,
    say,
    seed_option,
)

_COUNT = click.IntRange(min=1)
_SIZES = (50, 200)
_EVALUATION_SEED = 9  # of a sequence of graphs that neither training nor validation sees


@click.command()
@click.argument("folder")
@click.option("--training", type=_COUNT, default=1000, show_default=True, help="Labels to learn.")
@click.option(
    "--validation", type=_COUNT, default=200, show_default=True, help="Labels to measure by."
)
@click.option(
    "--unproved",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Labels to learn of graphs of 30 to 120 ops, by a short search: cheap.",
)
@click.option("--records/--no-records", default=True, help="Write TFRecords, too. Default: do.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds for a graph; what is not proved by then is left out.",
)
@processes_option
@beam_option
@quiet_option
@json_option
def labels(
    folder: str,
    training: int,
    validation: int,
    unproved: int,
    records: bool,
    time_limit: float | None,
    processes: int,
    beam_options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Solve random graphs optimally, for 'respect-tf train', and put the labels into FOLDER.

    labels-0-*.npz and labels-2-*.npz are for training and labels-1-*.npz for validation; the same
    ones every time, whoever makes them. TFRecords of GraphTensors with the same names are for
    networks of your own. What an earlier run has left is kept. FOLDER may be an address that Apache
    Beam knows, such as gs://bucket/labels.
    """
    from respect_tf.training import UNPROVED, WIDE_MIX, WIDE_OPS, run_labels

    common: dict[str, Any] = {
        "records": records,
        "beam_options": beam_options,
        "num_processes": processes,
        "verbose": 0 if quiet else "auto",
    }
    with failing(as_json, "Solving graphs for labels", quiet=quiet):
        runs = [
            run_labels(folder, count, seed=seed, time_limit=time_limit, **common)
            for seed, count in ((1, validation), (0, training))
        ]
        if unproved:
            wide: dict[str, Any] = {"num_ops": WIDE_OPS, "mix": WIDE_MIX, "exact": False}
            runs.append(run_labels(folder, unproved, seed=UNPROVED, **wide, **common))
        base = folder.rstrip("/")
        paths = [f"{base}/{name}" for run in runs for name in run.labels]
        made = [f"{base}/{name}" for run in runs for name in run.records]
        failed = {
            f"{sequence}/{number}": reason
            for sequence, run in zip((1, 0, UNPROVED), runs, strict=False)
            for number, reason in run.failures.items()
        }
        if as_json:
            print_json({"labels": paths, "records": made, "failed": failed})
        else:
            kept = sum(run.num_kept for run in runs)
            say(f"{len(paths)} files of labels in {folder}; {kept} were there already")
            for name, reason in failed.items():
                say(f"left out: {name}: {reason}")


@click.command()
@click.argument("label_folder", type=EXISTING)
@click.argument("run_folder", type=NEW_FOLDER)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the weights. Default: weights.npz in RUN_FOLDER.",
)
@click.option("--imitation-steps", type=click.IntRange(min=0), help="Steps of imitation.")
@click.option("--reinforce-steps", type=click.IntRange(min=0), help="Steps of REINFORCE.")
@click.option("--head-graphs", type=click.IntRange(min=0), help="Graphs to choose the heads on.")
@click.option("--head-candidates", type=_COUNT, help="Heads to choose from.")
@click.option("--head-changes", type=click.IntRange(min=0), help="Changes of heads to try.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which to stop, at the end of an epoch; the same command goes on then.",
)
@click.option(
    "--distribute",
    type=click.Choice(["mirrored", "workers"]),
    help="Train on all GPUs of this machine, or on the machines that TF_CONFIG lists.",
)
@click.option("--commit", default="", help="Of the source, for the card of the weights.")
@seed_option
@quiet_option
@json_option
def train(
    label_folder: Path,
    run_folder: Path,
    output: Path | None,
    time_limit: float | None,
    distribute: str | None,
    commit: str,
    seed: int,
    quiet: bool,
    as_json: bool,
    **sizes: Any,
) -> None:
    """Train the network on the labels in LABEL_FOLDER, with checkpoints in RUN_FOLDER.

    A run that is there is continued. RUN_FOLDER/tensorboard is for TensorBoard. The defaults, with
    benchmarks/data/policy_labels of the source, are how the weights of respect_tf were made; more
    of everything gives better ones.
    """
    from respect_tf.training import (
        TrainingPlan,
        load_all_labels,
        one_thread,
        save_trained,
        strategy_of,
        train,
    )

    with failing(as_json, "Training the policy", quiet=quiet):
        given = {name: value for name, value in sizes.items() if value is not None}
        plan = dataclasses.replace(TrainingPlan(seed=seed), **given)
        training, validation = load_all_labels(label_folder)
        one_thread()  # threads add up in any order
        strategy = None if distribute is None else strategy_of(distribute)
        weights, validations = train(
            run_folder,
            training,
            validation,
            plan,
            time_limit=time_limit,
            strategy=strategy,
            verbose=0 if quiet else "auto",
        )
        path = save_trained(
            output or run_folder / "weights.npz",
            weights,
            plan,
            validations,
            data=f"{len(training)} labels, {len(validation)} for validation, {plan.pool} graphs",
            commit=commit,
        )
        last = validations[-1]
        if as_json:
            print_json({"weights": str(path), "validation": dataclasses.asdict(last)})
        else:
            say(
                f"{path}: proposals {last.gap:.2%} above labels (the rule {last.rule_gap:.2%}), "
                f"{last.ratio:.4f} of the rule on larger graphs"
            )


@click.command()
@click.option("--weights", type=EXISTING_FILE, help="Weights. Default: what respect_tf has.")
@click.option(
    "-n",
    "--num-ops",
    type=click.IntRange(min=30),
    multiple=True,
    default=_SIZES,
    show_default=True,
    help="Sizes of graphs; may be given several times.",
)
@click.option(
    "--graphs", type=_COUNT, default=4, show_default=True, help="Graphs per family and size."
)
@click.option(
    "--search-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Search for a good schedule of each graph for so long, to compare with.",
)
@seed_option
@json_option
def evaluate(
    weights: Path | None,
    num_ops: tuple[int, ...],
    graphs: int,
    search_seconds: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Compare the network's proposal with rivals, on random graphs that it was not trained on.

    Each order is cut as well as can be. Figures are mean gaps to the least cost known: of the
    file's order; of the structural order with the best quick cut (rule); of the best of all
    structural orders; of the best of noisy copies of the rule's order, as many as take the time
    of the network; of the best of the network's orders; and of a search.
    """
    from respect_tf.policy import load_weights
    from respect_tf.training import FAMILIES, evaluate, evaluation_rows, label_task

    with failing(as_json, "Comparing the policy with its rivals"):
        loaded = load_weights(weights)
        tables = {}
        for size in num_ops:
            tasks = [
                label_task(index, _EVALUATION_SEED + seed, num_ops=(size, size), mix=(family,))
                for family in FAMILIES
                for index in range(graphs)
            ]
            found = evaluate(tasks, loaded, search_seconds=search_seconds, seed=seed)
            tables[size] = evaluation_rows(found)
        if as_json:
            print_json({str(size): rows for size, rows in tables.items()})
        else:
            for size, rows in tables.items():
                say(_table(rows, f"{size} ops"))


def _table(rows: list[dict[str, Any]], title: str) -> str:
    from respect_tf.report import table

    cells = [
        [f"{value:.2%}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in rows
    ]
    return table(list(rows[-1]), cells, title=title)
