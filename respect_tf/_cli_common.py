"""What the commands of the command line share: options, files in and out, errors."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

import respect_tf
from respect_tf._errors import RespectError
from respect_tf._fields import finite
from respect_tf._reporting import in_words, make_room, printable, progress, speaking
from respect_tf._words import command_words

EXISTING = click.Path(exists=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)

SCHEDULERS = (
    "policy",
    "policy-greedy",
    "policy+milp",
    "exact",
    "milp",
    "slicing",
    "compiler",
    "profile",
)
"""Those of `respect_tf.schedule`, named here so that `--help` does not load it."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a saved pipeline.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


class _CountOrAuto(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A whole number, 1 or more, or a word."""

    name = "number"

    def __init__(self, word: str) -> None:
        self._word = word

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        """How `--help` names a value."""
        del param, ctx
        return f"NUMBER|{self._word}"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """What was typed as a number, or the word."""
        if value == self._word:
            return value
        return click.IntRange(min=1).convert(value, param, ctx)


num_segments_option = click.option(
    "-n",
    "--num-segments",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stages of the pipeline, one per Edge TPU.",
)
auto_segments_option = click.option(
    "-n",
    "--num-segments",
    type=_CountOrAuto("auto"),
    default="auto",
    show_default=True,
    help="Stages of the pipeline; auto: what is fastest with the Edge TPUs there are.",
)
num_devices_option = click.option(
    "-d",
    "--num-devices",
    type=_CountOrAuto("attached"),
    help="Edge TPUs to use, replicas included; attached: those of this machine. Default: up to 4, "
    "or one for each segment.",
)
most_devices_option = click.option(
    "-d",
    "--num-devices",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Edge TPUs to plan for at most.",
)
planned_devices_option = click.option(
    "-d",
    "--num-devices",
    type=_CountOrAuto("attached"),
    default=8,
    show_default=True,
    help="Edge TPUs to plan for at most; attached: those of this machine.",
)
processes_option = click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of this machine to work with; several need Apache Beam.",
)
beam_option = click.option(
    "--beam",
    "beam_options",
    multiple=True,
    metavar="OPTION",
    help="An option of Apache Beam, as in --beam=--runner=FlinkRunner. May be given several times.",
)
scheduler_option = click.option(
    "--scheduler",
    type=click.Choice(SCHEDULERS),
    metavar="NAME",
    default="policy",
    show_default=True,
    help=f"What chooses the cut: {', '.join(SCHEDULERS)}.",
)
objective_option = click.option(
    "--objective",
    type=click.Choice(["throughput", "latency", "memory"]),
    default="throughput",
    show_default=True,
    help="What the cut minimises: ms between results, ms from end to end, or the parameter bytes "
    "of the fullest stage.",
)
times_option = click.option(
    "--times",
    type=EXISTING_FILE,
    help="For --scheduler profile: times that run_pipeline.py --benchmark measured on the device. "
    "Default: segments are measured on this CPU.",
)
DEVICE_HELP = (
    "A host that 'respect-tf devices' lists; usb3, usb2 or pcie for all hosts of that link; or a "
    ".json file that 'respect-tf calibrate' wrote. May be given several times, for a cut that is "
    "good on all of them."
)


def one_or_several(context: Any, parameter: Any, value: tuple[str, ...]) -> Any:
    """A `--device` as `device=` takes it: a name, a list of names, or None."""
    del context, parameter
    return list(value) if len(value) > 1 else next(iter(value), None)


device_option = click.option(
    "--device",
    metavar="NAME",
    default=("usb3",),
    multiple=True,
    callback=one_or_several,
    help=f"{DEVICE_HELP} Default: usb3.",
)
time_limit_option = click.option(
    "--time-limit", type=click.FloatRange(min=0, min_open=True), help="Seconds for the scheduler."
)
seed_option = click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of what is random; the same seed gives the same result.",
)
no_verify_option = click.option("--no-verify", is_flag=True, help="Do not prove the segments.")
output_option = click.option(
    "-o", "--output", type=NEW_FOLDER, help="Folder to make. Default: NAME_pipeline."
)


# Commands in the order of work, with what `--help` says of them in one line.
_COMMANDS = {
    "doctor": "Say what is installed, and what is missing.",
    "devices": "List the hosts that predictions can be for.",
    "inspect": "Say what is in a model or a saved pipeline.",
    "plan": "Say what each number of Edge TPUs would give.",
    "convert": "Make a verified pipeline of a model.",
    "schedule": "Choose the stage of every op, without cutting.",
    "segment": "Cut a .tflite model where you say.",
    "verify": "Prove again that segments compute the model.",
    "compile": "Compile segments with Google's compiler.",
    "run": "Send samples through a pipeline.",
    "simulate": "Simulate a pipeline on Edge TPUs.",
    "calibrate": "Fit a device to times that you measured.",
    "fleet": "Share Edge TPUs out among several models.",
    "sweep": "Estimate many models on many hosts.",
    "labels": "Solve random graphs, for training the policy.",
    "train": "Train the policy on labels.",
    "respect": "Train the network of the RESPECT paper.",
    "evaluate": "Compare the policy with its rivals.",
}


class CarefulGroup(click.Group):
    """Commands that end without a traceback where the user, or what they write to, ends them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of work."""
        del ctx
        known = [name for name in _COMMANDS if name in self.commands]
        return [*known, *sorted(set(self.commands) - set(known))]

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with its line in `--help`."""
        super().add_command(cmd, name)
        cmd.short_help = _COMMANDS.get(name or cmd.name or "", cmd.short_help)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command, as `click.Group.main` does."""
        interrupted = threading.Event()

        def interrupt(*_: object) -> None:
            interrupted.set()
            raise KeyboardInterrupt

        before = signal.getsignal(signal.SIGINT)
        handled = before in (signal.SIG_DFL, signal.default_int_handler)
        if handled and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
        else:
            handled = False
        try:
            with speaking(command_words):
                return super().main(*args, **kwargs)
        except Exception as error:
            # Modules in C that are just being imported make other errors of it.
            if interrupted.is_set():
                click.echo("Aborted!", err=True)
                sys.exit(1)
            if isinstance(error, OSError) and not isinstance(error, RespectError):
                _fail_to_print(error)
            raise
        finally:
            if handled:
                signal.signal(signal.SIGINT, before)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # It repeats paths and values. No assignment: to a type checker, messages are final.
            object.__setattr__(error, "message", printable(error.message))
            raise


def say(text: str) -> None:
    """Print a result, in the words of the command line."""
    _print(in_words(text))


def _print(text: str) -> None:
    """Write to standard output. Names in it cannot make the terminal do anything."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    make_room()
    try:
        click.echo(shown)
    except OSError as error:
        _fail_to_print(error)


def _fail_to_print(error: OSError) -> NoReturn:
    """End, as there is nowhere to print to; what is printed up to here may be lost."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # What is still held back would fail once more when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if error.errno != errno.EPIPE:  # `respect-tf ... | head` has seen enough
        with contextlib.suppress(OSError):
            click.echo(f"error: the result cannot be printed: {error.strerror or error}", err=True)
    sys.exit(1)


@contextlib.contextmanager
def failing(as_json: bool, doing: str, *, quiet: bool = False) -> Iterator[None]:
    """Do the work of a command: with progress, its errors as a message and exit code 1.

    Args:
        as_json: Whether a program reads the result, and errors too.
        doing: What is being done, for progress.
        quiet: Whether to show none.
    """
    try:
        with progress(doing, verbose=0 if quiet else "auto", summary=False):
            yield
    except RespectError as error:
        if as_json:
            said = {"type": type(error).__name__, "message": in_words(str(error))}
            print_json({"error": said})
        else:
            click.echo(printable(f"error: {in_words(str(error))}"), err=True)
        sys.exit(1)


def target_folder(model: Path, output: Path | None, *, overwrite: bool) -> Path:
    """The folder to make, checked before the long part."""
    from respect_tf._folder_target import check_writable_target

    folder = output or Path(f"{model.resolve().stem}_pipeline")
    check_writable_target(folder, overwrite=overwrite)
    return folder


def save_pipeline(
    pipeline: respect_tf.Pipeline, folder: Path, *, overwrite: bool, quiet: bool, as_json: bool
) -> None:
    saved = pipeline.save(folder, overwrite=overwrite, verbose=0 if quiet else "auto")
    if as_json:
        print_json({"folder": str(saved), **pipeline.report.to_dict()})
    else:
        say(f"{pipeline.report}\nsaved to {saved}")


def print_json(value: Any) -> None:
    """Print a result for a program, word for word."""
    _print(json.dumps(finite(value), indent=2, allow_nan=False))
