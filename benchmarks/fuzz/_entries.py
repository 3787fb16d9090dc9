"""Everything that reads a file, as users reach it, with files that are mutated for it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import queue
import random
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import _mutators, _seeds
from benchmarks.fuzz._seeds import Files

_AWARE = {
    ".tflite": _mutators.flatbuffer, ".json": _mutators.json_text, ".npz": _mutators.archive,
    ".keras": _mutators.archive, ".csv": _mutators.table, ".log": _mutators.lines,
}  # fmt: skip


class RefusedError(Exception):
    """The command line said what is wrong, and ended with an exit code above 0."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A way in.

    Attributes:
        name: What `--entry` takes.
        share: Parts of a run over all entries.
        seeds: Makes the files; public ones come last.
        open: Opens what lies in a folder, given the folder and a work folder. It raises what the
            reader raises.
    """

    name: str
    share: float
    seeds: Callable[[], list[Files]]
    open: Callable[[Path, Path], None]

    def mutant(self, seed: int, number: int, seeds: Sequence[Files]) -> Files:
        """One mutant: the same for the same seed, number and files."""
        r = random.Random(f"{self.name} {seed} {number}")
        files = dict(r.choice(seeds))
        chosen = r.choice([*files, *["pipeline.json" for _ in files if "pipeline.json" in files]])
        before = files[chosen]
        aware = _AWARE.get(Path(chosen).suffix, _mutators.any_bytes)
        files[chosen] = (aware if r.random() < 0.7 else _mutators.any_bytes)(r, before)
        if "pipeline.json" in files and chosen != "pipeline.json" and r.random() < 0.8:
            # A hash proves nothing where whoever changes a file can change the hash.
            old, new = (hashlib.sha256(x).hexdigest() for x in (before, files[chosen]))
            manifest = files["pipeline.json"].decode().replace(old, new)
            size = re.compile(rf'("bytes": ){len(before)}\b')
            files["pipeline.json"] = size.sub(rf"\g<1>{len(files[chosen])}", manifest).encode()
        return files


def _command(*arguments: object) -> None:
    """Run the command line in this process."""
    from click.testing import CliRunner

    from respect_tf.cli import main

    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise RefusedError(result.output[-300:])


def _beside(work: Path, name: str, content: bytes) -> Path:
    """A file that is as it should be, beside the mutant."""
    path = work / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _model(work: Path) -> Path:
    return _beside(work, "model.tflite", _seeds.model())


def _open_tflite(folder: Path, work: Path) -> None:
    path = folder / "model.tflite"
    _open_compiled(folder, work)
    stages = _beside(work, "two.json", b"[0, 0, 0, 1, 1, 1]")
    with contextlib.suppress(RefusedError):  # most have another number of ops
        _command("segment", path, "--schedule", stages, "--no-verify", "-o", work / "out", "-q")
    _command("schedule", path, "-n", 2, "--scheduler", "slicing", "--json")


def _open_compiled(folder: Path, work: Path) -> None:
    _command("inspect", folder / "model.tflite")
    _command("inspect", folder / "model.tflite", "--json")


def _open_metadata(folder: Path, work: Path) -> None:
    from respect_tf.segmentation import read_metadata

    read_metadata((folder / "model.tflite").read_bytes(), ["image"], ["scores"])


def _convert(name: str, folder: Path, work: Path) -> None:
    samples = _beside(work, "images.npy", _seeds.npy(np.zeros((1, 8, 8, 3), np.float32)))
    data = () if name == "model.tflite" else ("-r", samples)
    _command(
        "convert", folder / name, *data, "-n", 1, "--compile", "no", "-o", work / "out", "-q"
    )  # fmt: skip


def _open_folder(folder: Path, work: Path) -> None:
    _command("simulate", folder, "--inputs", 3, "--json")
    _command("verify", folder)


def _run(name: str, folder: Path, work: Path) -> None:
    for file, content in _seeds.saved_folder().items():
        _beside(work, f"saved/{file}", content)
    _command("run", work / "saved", folder / name, "--on", "cpu", "--json")


def _open_socket(folder: Path, work: Path) -> None:
    """A message to `run_pipeline.py --serve`, answered by a pipeline that hands inputs on."""
    import socket
    import threading

    from respect_tf.run.script._folder import Failure
    from respect_tf.run.script._serve import Server, open_listener
    from respect_tf.run.script._wire import receive_arrays

    spec = {
        "name": "x", "runner_name": "x", "shape": [2, 4, 4, 8], "dtype": "int8",
        "scale": [0.05], "zero_point": [3],
    }  # fmt: skip
    results: queue.Queue[dict[str, Any] | None] = queue.Queue()
    server = Server(results.put, results.get, [spec], [spec])
    refused = None
    with tempfile.TemporaryDirectory() as short:  # as a socket's path may have 107 bytes
        address = str(Path(short) / "s")
        listener = open_listener(address)
        serving = threading.Thread(target=server.serve, args=(listener,))
        serving.start()
        try:
            for message in (_message(), (folder / "message.bin").read_bytes(), _message()):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(address)
                    with contextlib.suppress(OSError):  # it hangs up before all is sent
                        client.sendall(message)
                        client.shutdown(socket.SHUT_WR)
                    try:
                        receive_arrays(client, None)
                        answered = True
                    except (Failure, EOFError, OSError) as error:
                        answered, refused = False, error
            if not answered:
                raise AssertionError(f"the server answers no more: {refused}")
        finally:
            server.stop()
            results.put(None)
            serving.join()
    if refused is not None:
        raise RefusedError(str(refused))


def _message() -> bytes:
    from respect_tf.run.script._wire import array_message

    return array_message([np.zeros((2, 4, 4, 8), np.int8)])


def _open_log(folder: Path, work: Path) -> None:
    from respect_tf.compile import parse_log

    json.dumps(parse_log((folder / "compiler.log").read_text("utf-8", "replace")).to_dict())


def _open_csv(folder: Path, work: Path) -> None:
    times = folder / "times.csv"
    with contextlib.suppress(RefusedError):
        _command("calibrate", times, "--json")
    _command("schedule", _model(work), "-n", 2, "--scheduler", "profile", "--times", times)


def _open_device(folder: Path, work: Path) -> None:
    for objective in ("throughput", "latency"):
        device = ("--device", folder / "device.json", "--objective", objective)
        _command("schedule", _model(work), "-n", 2, *device, "--json")


def _open_stages(folder: Path, work: Path) -> None:
    out = ("-o", work / "out", "-q", "--no-verify", "--json")
    _command("segment", _model(work), "--schedule", folder / "stages.json", *out)


def _open_weights(folder: Path, work: Path) -> None:
    from respect_tf.policy import load_weights
    from respect_tf.training import evaluate, label_task

    weights = load_weights(folder / "weights.npz")
    evaluate([label_task(0, num_ops=(30, 30))], weights, num_noisy=1)


def _open_labels(folder: Path, work: Path) -> None:
    from respect_tf.training import load_labels

    load_labels(folder / "labels.npz")


def _measurements() -> list[Files]:
    columns = "ms,macs,cached_bytes,streamed_bytes,input_bytes,output_bytes,ops,reload"
    rows = [f"{3 + n},{n}000000000,{n}00000,{n}0000,15000,1000,{n},{n % 2}" for n in range(6)]
    return [{"times.csv": "\n".join([columns, *rows]).encode()}]


def _device() -> list[Files]:
    """What `calibrate -o` writes."""
    with tempfile.TemporaryDirectory() as folder:
        times = _beside(Path(folder), "times.csv", _measurements()[0]["times.csv"])
        _command("calibrate", times, "-o", times.with_name("device.json"))
        return [{"device.json": times.with_name("device.json").read_bytes()}]


def _tflite(content: bytes, pattern: str = "-") -> list[Files]:
    return [{"model.tflite": content}, *_seeds.public(pattern, "model.tflite")]


def _logs() -> list[Files]:
    return [{"compiler.log": _seeds.log()}, *_seeds.public("compiler_logs/*", "compiler.log")]


def _own(name: str, pattern: str) -> list[Files]:
    return [{name: path.read_bytes()} for path in sorted(_seeds.ROOT.glob(pattern))[:2]]


_MODEL, _MODELS = "model.tflite", "models/*/*.tflite"
_STAGES = b'{"stages": [0, 0, 1, 1, 1, 1], "cost": 3.5}'
_IMAGES = np.zeros((2, 4, 4, 8), np.float32)
_WEIGHTS = "respect_tf/policy/weights.npz"
_LABELS = "benchmarks/data/policy_labels/*.npz"
_COMPILED = "compiled/*/*_edgetpu.tflite"
_KERAS = {
    "keras": ("keras", ".keras"), "h5": ("keras", ".h5"), "savedmodel": ("keras", ""),
    "tf_keras": ("tf_keras", ".keras"), "tf_keras_h5": ("tf_keras", ".h5"),
}  # fmt: skip
_ALL = [
    Entry("tflite", 20, lambda: _tflite(_seeds.model(), _MODELS), _open_tflite),
    Entry("compiled", 14, lambda: _tflite(_seeds.compiled_model(), _COMPILED), _open_compiled),
    Entry("metadata", 10, lambda: _tflite(_seeds.metadata_model()), _open_metadata),
    Entry("convert", 4, lambda: _tflite(_seeds.model()), partial(_convert, _MODEL)),
    Entry("folder", 10, lambda: [_seeds.saved_folder()], _open_folder),
    Entry("log", 10, _logs, _open_log),
    Entry("csv", 6, _measurements, _open_csv),
    Entry("device", 6, _device, _open_device),
    Entry("stages", 5, lambda: [{"stages.json": _STAGES}], _open_stages),
    Entry("weights", 2, lambda: _own("weights.npz", _WEIGHTS), _open_weights),
    Entry("labels", 4, lambda: _own("labels.npz", _LABELS), _open_labels),
    Entry("samples", 4, lambda: [{"x.npz": _seeds.npz(image=_IMAGES)}], partial(_run, "x.npz")),
    Entry("socket", 4, lambda: [{"message.bin": _message()}], _open_socket),
    Entry("array", 3, lambda: [{"x.npy": _seeds.npy(_IMAGES)}], partial(_run, "x.npy")),
    *(
        Entry(
            name, 0.4, lambda kind=kind: [_seeds.keras_file(*kind)],
            partial(_convert, f"model{kind[1]}" if kind[1] else ""),
        )
        for name, kind in _KERAS.items()
    ),
]  # fmt: skip
ENTRIES = {entry.name: entry for entry in _ALL}
