"""`respect-tf fleet`: several models on some Edge TPUs, as a file describes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import respect_tf
from respect_tf._cli_arrays import read_arrays
from respect_tf._cli_common import (
    EXISTING_FILE,
    NEW_FOLDER,
    failing,
    json_option,
    overwrite_option,
    print_json,
    quiet_option,
    say,
)

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same under another name
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

_KEYS = {"num_devices", "device", "aim", "models"}
_MODEL_KEYS = {"path", "rate", "samples"}
_MOST_BYTES = 1 << 20


@click.command(short_help="Share Edge TPUs out among several models.")
@click.argument("description", type=EXISTING_FILE)
@click.option(
    "-o", "--output", type=NEW_FOLDER, help="Convert the models, and save the pipelines in here."
)
@overwrite_option
@quiet_option
@json_option
def fleet(
    description: Path, output: Path | None, overwrite: bool, quiet: bool, as_json: bool
) -> None:
    """Plan for the models in DESCRIPTION, a TOML file, and convert them with --output.

    \b
    num_devices = 4
    device = "usb3-pi5"            # a name or a list; usb3 if left out
    aim = "devices"                # or "load"
    [models.detector]
    path = "detector.keras"        # relative to the file
    rate = 30.0                    # inferences per second
    samples = "images.npy"         # to calibrate with, for --output
    """  # noqa: D301 - click's mark for lines that stay as they are
    verbose: Any = 0 if quiet else "auto"
    with failing(as_json, f"Planning {description.name}", quiet=quiet):
        given = _read(description)
        folder = description.parent
        models = {name: folder / model["path"] for name, model in given["models"].items()}
        plan = respect_tf.plan_fleet(
            models,
            given["num_devices"],
            {name: model["rate"] for name, model in given["models"].items()},
            device=given.get("device", "usb3"),
            aim=given.get("aim", "devices"),
            verbose=verbose,
        )
        saved = None
        if output is not None:
            samples = {
                name: read_arrays(folder / model["samples"])
                for name, model in given["models"].items()
                if "samples" in model
            }
            saved = plan.convert(samples, verbose=verbose).save(
                output, overwrite=overwrite, verbose=verbose
            )
        if as_json:
            print_json({**plan.to_dict(), "folder": None if saved is None else str(saved)})
        else:
            say(str(plan))
            if saved is not None:
                say(f"saved to {saved}")


def _read(path: Path) -> dict[str, Any]:
    """The description, each field of which is of its type."""
    from respect_tf._files import read_regular

    try:
        given: dict[str, Any] = tomllib.loads(read_regular(path, most=_MOST_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"'{path}' is no TOML file: {error}") from error
    _check(path, "the file", given, _KEYS)
    _need(path, "the file", given, "num_devices", int, "a whole number")
    _need(path, "the file", given, "models", dict, "tables [models.NAME]")
    for name, model in given["models"].items():
        where = f"models.{name}"
        _need(path, "the file's models", given["models"], name, dict, "a table")
        _check(path, where, model, _MODEL_KEYS)
        _need(path, where, model, "path", str, "a file name")
        _need(path, where, model, "rate", (int, float), "a number")
        if "samples" in model:
            _need(path, where, model, "samples", str, "a file name")
    return given


def _check(path: Path, where: str, given: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise click.BadParameter(
            f"'{path}': {where} has {unknown[0]!r}. Expected {', '.join(sorted(known))}."
        )


def _need(
    path: Path, where: str, given: dict[str, Any], name: str, kind: Any, expected: str
) -> None:
    value = given.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise click.BadParameter(f"'{path}': {name} in {where} is {value!r}. Expected {expected}.")
