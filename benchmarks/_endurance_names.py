"""The hook in nests and threads, and names that want to be more than names."""

from __future__ import annotations

import dataclasses
import html.parser
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import respect_tf
from benchmarks._endurance_growth import small_model, small_samples
from respect_tf._manifest_schema import plain_name
from respect_tf.tflite import read_model, silenced, write_model

# Each tries to leave its place: an element, an attribute, a quoted word, a line, a text.
HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></title></svg><b>",
    "$(touch injected)`touch injected`;touch injected&",
    "'; touch injected; '",
    '"; touch injected; "',
    "\nRUN touch injected\n",
    "-x --out_dir=.. * ? ~ \\",
    "\x1b[2J\x1b]0;owned\x07",
    "&lt;i&gt;%s{0}{{7*7}}${7*7}",
)
_PLAIN_NAME = "network"
_COMPILER = """#!/bin/sh
# Writes down what it was called with, and makes no model.
for word in "$@"; do printf '[%s]' "$word" >> "$CALLS"; done
echo >> "$CALLS"
exit 1
"""


def hook_in_nests_and_threads(num_threads: int) -> list[str]:
    """Open the hook in a nest and in threads at the same time; what went wrong.

    Every thread converts twice inside its own block, once in a block inside that; one thread more
    converts outside of any block.
    """
    import tensorflow as tf

    faults: list[str] = []
    before = dict(vars(tf.lite.TFLiteConverter))
    model = small_model()
    shape = (1, *model.input_shape[1:])
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32)
    )
    options: dict[str, Any] = {"device": "usb3-pi5", "verbose": 0}

    def convert() -> bytes:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in small_samples())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        content: bytes = converter.convert()
        return content

    with silenced():
        plain = convert()

    def expect(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            faults.append(f"{what}: {found!r}, expected {wanted!r}")

    def nested() -> None:
        with respect_tf.intercept(2, **options) as outer:
            expect("bytes outside", convert() == plain, True)
            with respect_tf.intercept(3, **options) as inner:
                expect("bytes inside", convert() == plain, True)
            expect("bytes afterwards", convert() == plain, True)
        for kind, seen, number, count in (("outer", outer, 2, 2), ("inner", inner, 3, 1)):
            expect(f"pipelines of the {kind} block", len(seen), count)
            expect(f"segments of the {kind} block", {len(p.segments) for p in seen}, {number})
            expect(f"models of the {kind} block", {p.model == plain for p in seen}, {True})

    def outside() -> None:
        expect("bytes in a thread without a block", convert() == plain, True)

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")

    with silenced():
        threads = [
            threading.Thread(target=guarded, args=(work,))
            for work in [*[nested] * num_threads, outside]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect("TensorFlow's class after the blocks", dict(vars(tf.lite.TFLiteConverter)), before)
    return faults


def names_that_inject(folder: Path) -> list[str]:
    """Save models whose every name is hostile; what came of it in the files of their folders.

    The page of a model may differ from that of the same model with plain names in texts alone: not
    in its elements, their attributes or their styles. `compile.sh` has to hand the names of its
    files, and nothing else, to a compiler, and the `Dockerfile` to be the same for all.
    """
    content = respect_tf.convert(
        small_model(), 2, small_samples(), device="usb3-pi5", verbose=0
    ).model
    wanted = _saved(content, _PLAIN_NAME, None, folder / "plain")
    faults = []
    for number, name in enumerate(HOSTILE_NAMES):
        where = folder / f"case {number} $(touch injected)"
        found = _saved(content, name, name, where)
        page = (found / "report.html").read_text("utf-8")
        if not same_structure(page, (wanted / "report.html").read_text("utf-8")):
            faults.append(f"{name!r} changes the structure of report.html")
        if (found / "Dockerfile").read_bytes() != (wanted / "Dockerfile").read_bytes():
            faults.append(f"{name!r} is in the Dockerfile")
        for path in sorted(found.glob("*.sh")) + sorted(found.glob("*.html")):
            if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", path.read_text("utf-8", errors="strict")):
                faults.append(f"{name!r} brings control characters into {path.name}")
        faults += [f"{name!r}: {fault}" for fault in _compiled_by_hand(found)]
        if list(folder.rglob("injected")):
            faults.append(f"{name!r} runs a command")
            return faults
    return faults


def _saved(content: bytes, file_name: str, name: str | None, folder: Path) -> Path:
    """Save a model's pipeline, its file, tensors, device and labels under a name."""
    folder.mkdir()
    if name is not None:
        parsed = read_model(content)
        for index, tensor in enumerate(parsed.subgraphs[0].tensors):
            tensor.name = f"{name}{index}"
        for signature in parsed.signatureDefs or ():
            signature.signatureKey = name
            for number, entry in enumerate([*signature.inputs, *signature.outputs]):
                entry.name = f"{name}{number}"
        content = write_model(parsed)
    file = folder / f"{plain_name(file_name)}.tflite"
    file.write_bytes(content)
    device = dataclasses.replace(respect_tf.EdgeTpu.preset("usb3-pi5"), name=file_name)
    pipeline = respect_tf.convert(file, 2, device=device, compile=False, verbose=0)
    return pipeline.save(folder / "saved", verbose=0)


class _Structure(html.parser.HTMLParser):
    """Elements and the names of their attributes in their order, and what is inside of styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("end", tag))
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            self.found.append(data)


def same_structure(page: str, other: str) -> bool:
    """Whether two pages have the same elements with the same attributes, and the same styles."""
    structures = []
    for text in (page, other):
        parser = _Structure()
        parser.feed(text)
        parser.close()
        structures.append(parser.found)
    return structures[0] == structures[1]


def _compiled_by_hand(folder: Path) -> list[str]:
    """Run `compile.sh` with a compiler that writes down its arguments; what is wrong with them."""
    calls, compiler = folder.parent / "calls", folder.parent / "compiler"
    compiler.write_text(_COMPILER)
    compiler.chmod(0o755)
    script = folder / "compile.sh"
    subprocess.run(
        ["sh", str(script)],
        env={**os.environ, "EDGETPU_COMPILER": str(compiler), "CALLS": str(calls)},
        cwd=folder.parent,
        capture_output=True,
        check=False,
    )
    first = min(path.name for path in folder.glob("*_segment_0_of_*.tflite"))
    # It gives up at the first segment, after its retries.
    lines = calls.read_text("utf-8").splitlines()
    wanted = re.compile(rf"\[--show_operations\]\[--out_dir\]\[[^]]*\]\[\./{re.escape(first)}\]")
    if not lines or not all(wanted.fullmatch(line) for line in lines):
        return [f"compile.sh calls the compiler with {lines[:1]}"]
    return []
