"""`respect-tf sweep`: a table of many models on many hosts."""

from __future__ import annotations

from pathlib import Path

import click

from respect_tf._cli_common import (
    beam_option,
    failing,
    json_option,
    most_devices_option,
    print_json,
    processes_option,
    quiet_option,
    say,
    seed_option,
    time_limit_option,
)


@click.command(
    short_help="Estimate many models on many hosts, into a table.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("models", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Table to write: .csv or .parquet.",
)
@click.option(
    "--work",
    help="Folder of the results so far, which a killed run goes on from; Beam's addresses, too. "
    "Default: OUTPUT.work.",
)
@click.option(
    "--device",
    "devices",
    metavar="NAME",
    multiple=True,
    default=("usb3-pi5",),
    help="A host that 'respect-tf devices' lists. May be given several times. Default: usb3-pi5.",
)
@most_devices_option
@processes_option
@beam_option
@time_limit_option
@seed_option
@quiet_option
@json_option
def sweep(
    models: tuple[str, ...],
    output: Path,
    work: str | None,
    devices: tuple[str, ...],
    num_devices: int,
    processes: int,
    beam_options: tuple[str, ...],
    time_limit: float | None,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Estimate MODELS on every host with 1 to so many Edge TPUs, and write one table.

    MODELS are files, folders of files, classes of keras.applications such as ResNet50, or
    keras.applications for all of them. Nothing is converted but models with unknown layers. What
    cannot be read is left out, with the reason.
    """
    from respect_tf._sweep import sweep as run
    from respect_tf._sweep import sweep_models, write_table

    with failing(as_json, "Estimating", quiet=quiet):
        listed = sweep_models(models)
        folder = str((Path(f"{output}.work")).resolve()) if work is None else work
        found = run(
            listed,
            folder,
            devices=devices,
            num_devices=num_devices,
            time_limit=time_limit,
            beam_options=beam_options,
            num_processes=processes,
            seed=seed,
            verbose=0 if quiet else "auto",
        )
        rows = write_table(found, output)
        failed = {listed[number]: reason for number, reason in found.failures.items()}
        if as_json:
            print_json({"table": str(output), "rows": rows, "failed": failed})
        else:
            say(f"{rows:,} rows in {output}; {found.num_kept:,} results were there already")
            for name, reason in failed.items():
                say(f"left out: {name}: {reason}")
