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
    failing,
    json_option,
    print_json,
    quiet_option,
    say,
    seed_option,
)

_COUNT = click.IntRange(min=1)
_SIZES = (50, 200)
_EVALUATION_SEED = 9  # of a sequence of graphs that neither training nor validation sees


@click.command()
@click.argument("folder", type=NEW_FOLDER)
@click.option("--training", type=_COUNT, default=1000, show_default=True, help="Labels to learn.")
@click.option(
    "--validation", type=_COUNT, default=200, show_default=True, help="Labels to measure by."
)
@click.option("--records/--no-records", default=True, help="Write TFRecords, too. Default: do.")
@quiet_option
@json_option
def labels(
    folder: Path, training: int, validation: int, records: bool, quiet: bool, as_json: bool
) -> None:
    """Solve random graphs optimally, for 'respect-tf train', and put the labels into FOLDER.

    labels-0-*.npz are for training and labels-1-*.npz for validation; the same ones every time.
    TFRecords of GraphTensors with the same names are for networks of your own. What an earlier
    run has left is kept.
    """
    from respect_tf.graph._tfgnn import load_tfgnn
    from respect_tf.training import make_labels, make_records

    verbose: Any = 0 if quiet else "auto"
    with failing(as_json):
        if records:
            load_tfgnn()  # what is missing is missing before the long part, too
        paths = [
            *make_labels(folder, validation, seed=1, verbose=verbose),
            *make_labels(folder, training, seed=0, verbose=verbose),
        ]
        made = make_records(paths, verbose=verbose) if records else []
        if as_json:
            print_json({"labels": [str(path) for path in paths], "records": list(map(str, made))})
        else:
            say(f"{len(paths)} files of labels in {folder}")


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
@click.option(
    "--reward",
    type=click.Choice(["cost", "cosine"]),
    default="cost",
    show_default=True,
    help="Minus the relative cost of an order's best cut, or the cosine reward of RESPECT.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which to stop, at the end of an epoch; the same command goes on then.",
)
@click.option("--commit", default="", help="Of the source, for the card of the weights.")
@seed_option
@quiet_option
@json_option
def train(
    label_folder: Path,
    run_folder: Path,
    output: Path | None,
    imitation_steps: int | None,
    reinforce_steps: int | None,
    reward: Any,
    time_limit: float | None,
    commit: str,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the network on the labels in LABEL_FOLDER, with checkpoints in RUN_FOLDER.

    A run that is there is continued. RUN_FOLDER/tensorboard is for TensorBoard. The defaults, with
    benchmarks/data/policy_labels of the source, are how the weights of respect_tf were made.
    """
    from respect_tf.training import TrainingPlan, label_files, load_labels, save_trained, train

    with failing(as_json):
        plan = TrainingPlan(seed=seed, reward=reward)
        if imitation_steps is not None:
            plan = dataclasses.replace(plan, imitation_steps=imitation_steps)
        if reinforce_steps is not None:
            plan = dataclasses.replace(plan, reinforce_steps=reinforce_steps)
        training, validation = (load_labels(label_files(label_folder, part)) for part in (0, 1))
        weights, validations = train(
            run_folder,
            training,
            validation,
            plan,
            time_limit=time_limit,
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
        best = min(validations, key=lambda found: found.score)
        if as_json:
            print_json({"weights": str(path), "validation": dataclasses.asdict(best)})
        else:
            say(
                f"{path}: greedy orders {best.gap:.2%} above labels (file order "
                f"{best.file_gap:.2%}), {best.ratio:.4f} of file order on larger graphs"
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
    """Compare the network's orders with others, on random graphs that it was not trained on.

    Each order is cut as well as can be. The first figures are geometric means of the cost against
    that of the file's order: of the network's greedy order, of the one structural order that is
    best for the row, of the best structural order of each graph, of the best of 16 random orders
    of the network, and of a search. The last are gaps to the least cost known.
    """
    from respect_tf.policy import load_weights
    from respect_tf.training import FAMILIES, evaluate, evaluation_rows, label_task

    with failing(as_json):
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


# What the text shows of `evaluation_rows`; JSON has all of it.
_COLUMNS = {
    "family": "family",
    "policy-greedy": "greedy",
    "best single": "single",
    "order": "which",
    "best structural": "best",
    "policy samples": "samples",
    "search": "search",
    "greedy gap": "gap",
    "file gap": "file",
}


def _table(rows: list[dict[str, Any]], title: str) -> str:
    from respect_tf.report._text import table

    shown = {name: column for name, column in _COLUMNS.items() if name in rows[-1]}
    cells = [[_cell(name, row.get(name)) for name in shown] for row in rows]
    return table(list(shown.values()), cells, title=title)


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1%}" if name.endswith(("gap", "worst")) else f"{value:.3f}"
