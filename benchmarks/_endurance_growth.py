"""What a long life does to a process: its memory, threads and open files, early and late."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import respect_tf
from benchmarks._peak_memory import resident_mib
from respect_tf.tflite import read_model, write_model

NUM_PUSHERS = 8
NUM_POPPERS = 4
_NUM_STAGES = 4
_QUEUE = 16
_BASE = 128  # int8 from 0: what a value of the maps counts in
# The kernel lists a thread for a moment after Python has joined it, and a worker until its keeper
# has seen it end: those of two runners.
_LINGERING = 2 * _NUM_STAGES
_JOIN_SECONDS = 3600.0  # a thread that hangs is an error, not a hang of the benchmark


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        mib: Resident memory, MiB, after a collection of garbage.
        threads: Of the kernel, those of libraries included.
        files: Open file descriptors.
        descendants: Processes that it, or another one of them, has started, and that are there.
    """

    mib: float
    threads: int
    files: int
    descendants: int

    @classmethod
    def now(cls) -> Held:
        """What this process holds now."""
        gc.collect()
        own = Path("/proc/self")
        return cls(
            mib=resident_mib(),
            threads=_count(own / "task"),
            files=_count(own / "fd"),
            descendants=_num_descendants(),
        )


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _num_descendants() -> int:
    """Processes that this one has started, and those that they have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # Behind the name, which may hold anything: the state and the parent.
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return len(found) - 1


@dataclass(frozen=True)
class Growth:
    """What was held after a tenth of the work, and at its end."""

    first: Held
    last: Held

    @property
    def mib(self) -> float:
        """By how many MiB the resident memory has grown."""
        return self.last.mib - self.first.mib

    def flat(self, most_mib: float) -> bool:
        """Whether nothing has grown, but for `most_mib` of memory."""
        first, last = self.first, self.last
        return (
            self.mib <= most_mib
            and last.threads <= first.threads + _LINGERING
            and last.files <= first.files
            and last.descendants <= first.descendants + _LINGERING
        )

    def __str__(self) -> str:
        first, last = self.first, self.last
        return (
            f"{first.mib:,.0f} to {last.mib:,.0f} MiB, {first.threads} to {last.threads} threads, "
            f"{first.files} to {last.files} files, "
            f"{first.descendants} to {last.descendants} processes"
        )


def repeated(work: Callable[[], object], count: int) -> Growth:
    """Do something `count` times."""
    first = None
    for number in range(1, count + 1):
        work()
        if first is None and number >= count / 10:
            first = Held.now()
    assert first is not None
    return Growth(first, Held.now())


def small_model() -> Any:
    """A Keras model of four layers, [8, 8, 3] to [4]; always with the same weights."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    made = keras.layers.Conv2D(4, 3, activation="relu", name="one")(image)
    made = keras.layers.Conv2D(4, 3, activation="relu", name="two")(made)
    made = keras.layers.Dense(4, name="three")(keras.layers.Flatten(name="flat")(made))
    return keras.Model(image, made, name="small")


def small_samples() -> npt.NDArray[np.float32]:
    """Samples for `small_model`, float32 [16, 8, 8, 3]."""
    return np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)


def ticket_pipeline() -> respect_tf.Pipeline:
    """A pipeline of four segments that hands four int8 values through as they are."""
    ticket = keras.Input((1, 1, 4), name="ticket")
    made = ticket
    for number in range(_NUM_STAGES):  # a pool of one value: its scale stays, so its bytes do
        made = keras.layers.MaxPooling2D(1, name=f"pool_{number}")(made)
    samples = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 1, 1, 4)
    return respect_tf.convert(
        keras.Model(ticket, made, name="tickets"), _NUM_STAGES, samples, verbose=0
    )


def from_elsewhere(pipeline: respect_tf.Pipeline) -> respect_tf.Pipeline:
    """The same pipeline of a model that this process does not know, so that workers run it."""
    parsed = read_model(pipeline.model)
    parsed.description = "from elsewhere"
    return respect_tf.convert(write_model(parsed), len(pipeline.segments), verbose=0)


@dataclass(frozen=True)
class Pushed:
    """What came out of a runner that several threads used at once.

    Attributes:
        pushed: Inputs that went in.
        popped: Results that came out.
        distinct: Different ones of them that had been pushed.
        in_order: Whether every popper got the inputs of every pusher in the order they went in.
        counted: What each segment says it has run.
        growth: Memory, threads and files after a tenth of the results, and at the end.
        errors: What any of the threads raised.
    """

    pushed: int
    popped: int
    distinct: int
    in_order: bool
    counted: tuple[int, ...]
    growth: Growth
    errors: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether all of it came out once, in order, and was counted."""
        counts = {self.pushed, self.popped, self.distinct, *self.counted}
        return len(counts) == 1 and self.in_order and not self.errors


class _Popper:
    """What one thread that pops has seen."""

    def __init__(self) -> None:
        self.count = 0
        self.in_order = True
        self.seen = [bytearray() for _ in range(NUM_PUSHERS)]  # one byte per number of a pusher
        self._latest = [-1] * NUM_PUSHERS

    def take(self, values: npt.NDArray[np.int8]) -> None:
        pusher, high, middle, low = values.reshape(-1).tolist()
        number = (high * _BASE + middle) * _BASE + low
        self.count += 1
        self.in_order &= number > self._latest[pusher]
        self._latest[pusher] = number
        seen = self.seen[pusher]
        seen.extend(bytes(max(0, number + 1 - len(seen))))
        seen[number] = 1


def push_from_threads(pipeline: respect_tf.Pipeline, count: int) -> Pushed:
    """Send inputs through a runner from eight threads, and take them out in four."""
    share = count // NUM_PUSHERS
    poppers = [_Popper() for _ in range(NUM_POPPERS)]
    errors: list[str] = []
    early: list[Held] = []
    runner = pipeline.runner("cpu", input_queue_size=_QUEUE, output_queue_size=_QUEUE, verbose=0)
    (name,) = pipeline.inputs
    shape = pipeline.inputs[name].shape

    def push(pusher: int) -> None:
        for number in range(share):
            high, low = divmod(number, _BASE)
            ticket = np.array([pusher, *divmod(high, _BASE), low], np.int8)
            runner.push({name: ticket.reshape(shape)})

    def pop(popper: _Popper) -> None:
        while (values := runner.pop()) is not None:
            (ticket,) = values.values()
            popper.take(ticket)
            if popper is poppers[0] and not early and popper.count * NUM_POPPERS * 10 >= count:
                early.append(Held.now())

    def guarded(work: Callable[..., None], argument: Any) -> None:
        try:
            work(argument)
        except BaseException as error:
            errors.append(f"{type(error).__name__}: {error}")
            runner.close(discard=True)

    pushing = [_thread(guarded, push, pusher) for pusher in range(NUM_PUSHERS)]
    popping = [_thread(guarded, pop, popper) for popper in poppers]
    try:
        _join(pushing)
        runner.push({})
        _join(popping)
        late = Held.now()
        counted = tuple(entry.num_inferences for entry in runner.statistics())
    finally:
        runner.close(discard=True)
    return Pushed(
        pushed=share * NUM_PUSHERS,
        popped=sum(popper.count for popper in poppers),
        distinct=sum(
            int(np.logical_or.reduce(_padded([popper.seen[pusher] for popper in poppers])).sum())
            for pusher in range(NUM_PUSHERS)
        ),
        in_order=all(popper.in_order for popper in poppers),
        counted=counted,
        growth=Growth(early[0] if early else late, late),
        errors=tuple(errors),
    )


def _thread(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(_JOIN_SECONDS)
        assert not thread.is_alive(), "a thread of the benchmark waits for ever"


def _padded(seen: list[bytearray]) -> npt.NDArray[np.bool_]:
    longest = max(len(numbers) for numbers in seen)
    rows = [np.frombuffer(bytes(numbers).ljust(longest, b"\0"), np.bool_) for numbers in seen]
    return np.stack(rows)
