"""Which models map completely, with and without rewriting, and how far int8 is from float.

A row per model: one of every family of keras.applications at its own size, and small architectures
built from layers. Each is built and converted in a process of its own, which may take ten minutes
of processor time and 16 GiB; what does not fit is named. A model counts as mapped where every op is
on the Edge TPU, or what is not stands in one CPU stage at an end, with at most 5 % of the model's
multiplications.
"""

from __future__ import annotations

import collections
import json
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._models import TEN_MODELS
from benchmarks._same_bytes import SIZE
from benchmarks._tables import RESULTS, environment, markdown, update_page, write_results

_SECONDS, _BYTES = 600, 16 * 2**30
_WAIT = 10  # times as long on the clock: the machine may be busy
_END_SHARE = 0.05
_NUM_SAMPLES = 12
_FAMILIES = (
    "Xception", "VGG16", "ResNet50", "ResNet50V2", "InceptionV3", "InceptionResNetV2", "MobileNet",
    "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "DenseNet121", "NASNetMobile",
    "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny",
)  # fmt: skip
_MODES = ("off", "safe", "all")
_ON_THE_PAGE = ("model", "CPU ops, off", "safe", "all", "error, off", "error, safe", "error, all")
_OFFER = 'rewrite="all"'  # in a warning, where there is an approximation
_LEFT = "left out"  # in a row's file: the model was not measured
_TOGETHER = 12  # small models per process
_PARTIAL = RESULTS.parents[1] / ".cache" / "coverage"

_NOTES = f"""
"CPU ops" counts ops that stay on the CPU of a model on one Edge TPU, as `respect_tf.predict` counts
them; an op that stops the compiler puts all of them there. "at an end": the ops that are not mapped
stand in one stage at an end, with at most {_END_SHARE:.0%} of the multiplications. Error: the
difference of int8 and float outputs relative to the float outputs (Euclidean norms), over all
calibration samples that were compared, of the worst output. Weights are random; those of
keras.applications are `examples.applications`'s. Parity: two halves equal the whole model bit for
bit.
"""


def main() -> None:
    """Make the rows that are not there yet, and the table."""
    names = _names()
    _make(names)
    rows = [json.loads(_file(name).read_text()) for name in names]
    rows = [row for row in rows if row["safe"] != _LEFT]
    left = [name for name in names if name not in {row["name"] for row in rows}]
    placed = [row for row in rows if row["place"]]
    shares = {
        mode: sum(row[mode] in ("all", "at an end") for row in placed) / len(placed)
        for mode in _MODES
    }
    said = ", ".join(f'"{mode}" {share:.0%}' for mode, share in shares.items())
    summary = (
        (f"Left out of this run: {', '.join(left)}. " if left else "")
        + f"Of {len(placed)} models that have a place on an Edge TPU, mapped completely: {said}."
        + f"\n\n{_told_of_bytes()}"
    )
    made_with = collections.Counter(row["made_with"] for row in rows)
    if len(made_with) > 1:  # an environment that changed between rows
        told = ", ".join(f"{count} with {what}" for what, count in made_with.items())
        summary += f"\nOf the rows, {told}.\n"
    table = [_table_row(row) for row in rows]
    write_results("coverage", "Models that map completely", table, f"{summary}{_NOTES}")
    page = [{key: row[key] for key in _ON_THE_PAGE} for row in table]
    update_page("coverage", f"{summary}\n{markdown(page)}\n\n{environment()}")


def _told_of_bytes() -> str:
    """What becomes of the bytes of the paper's models, which map already."""
    changed = []
    for name in TEN_MODELS:
        file = _file(f"bytes of {name}")
        if not file.exists():
            command = [sys.executable, "-m", "benchmarks._same_bytes", name]
            is_same = subprocess.run(command, check=False).returncode == 0
            file.write_text(json.dumps(is_same))
        if not json.loads(file.read_text()):
            changed.append(name)
    told = (
        f"The ten models of the RESPECT paper ({SIZE}x{SIZE} pictures, random weights): the float "
        'model that is quantised has the same bytes with rewrite="all" as with "off" '
    )
    return told + (f"but for {', '.join(changed)}.\n" if changed else "for every one.\n")


def _names() -> list[str]:
    from benchmarks._architectures_classes import CLASSES
    from benchmarks._architectures_maps import MAPS
    from benchmarks._architectures_series import SERIES, WITHOUT_A_PLACE

    return [*_FAMILIES, *MAPS, *CLASSES, *SERIES, *WITHOUT_A_PLACE]


def _file(name: str) -> Path:
    return _PARTIAL / f"{name.replace(' ', '_').replace('/', '_')}.json"


def _make(names: list[str]) -> None:
    """Make rows that are not there yet: several models per process, alone where that fails."""
    _PARTIAL.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not _file(name).exists()]
    small = [name for name in missing if name not in _FAMILIES]
    groups = [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]
    for group in [*groups, *([name] for name in missing if name in _FAMILIES)]:
        said = _in_a_process(group)
        for name in group:
            if len(group) > 1 and not _file(name).exists():
                said = _in_a_process([name])
            if not _file(name).exists():
                _file(name).write_text(json.dumps(_failed(name, said)))


def _in_a_process(names: list[str]) -> str:
    """Measure models in one process, which writes a file for each; what it said of an error."""
    command = [sys.executable, "-m", "benchmarks.coverage", *names]
    limit = _WAIT * _SECONDS * len(names)
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"more than {limit} seconds"
    return done.stderr if done.returncode else ""


def _failed(name: str, said: str) -> dict[str, Any]:
    reason = said.strip().splitlines()[-1][:160] if said.strip() else "killed, or out of time"
    return {
        "name": name,
        "place": True,
        "made_with": "",
        "off": reason,
        "safe": reason,
        "all": reason,
    }


def _table_row(row: dict[str, Any]) -> dict[str, Any]:
    def figure(key: str) -> str:
        value = row.get(key)
        return "" if value is None else f"{value:.1%}" if "error" in key else str(value)

    return {
        "model": row["name"] + ("" if row["place"] else " (no place)"),
        "CPU ops, off": figure("cpu_off"),
        "safe": figure("cpu_safe"),
        "all": figure("cpu_all"),
        "mapped, off": row["off"],
        "mapped, safe": row["safe"],
        "mapped, all": row["all"],
        "error, off": figure("error_off"),
        "error, safe": figure("error_safe"),
        "error, all": figure("error_all"),
        "parity": row.get("parity", ""),
        "rewritten": ", ".join(f"{n} {rule}" for rule, n in row.get("rules", {}).items()),
    }


def measure(name: str) -> dict[str, Any]:
    """Build a model, convert it in each mode, and say what became of it."""
    from respect_tf import RespectError
    from respect_tf.graph import op_graph_of
    from respect_tf.tflite import to_int8

    model, samples, place = _built(name)
    made_with = f"tensorflow {version('tensorflow')}"
    row: dict[str, Any] = {"name": name, "place": place, "made_with": made_with, "rules": {}}
    # Nothing rewritten with "safe" leaves what "off" makes, and "all" differs only where "safe"
    # says that it would.
    safe: Any = None
    for mode in ("safe", "off", "all"):
        if safe is not None and (
            (mode == "off" and not safe.rewritten)
            or (mode == "all" and not any(_OFFER in remark for remark in safe.remarks))
        ):
            _copy(row, "safe", mode)
            continue
        try:
            made = to_int8(model, samples, rewrite=mode, strict=False, verbose=0)
        except RespectError as error:
            row[mode] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
            continue
        graph = op_graph_of(made.unpacked)
        row[f"cpu_{mode}"], row[mode] = _mapping(graph)
        if made.accuracy is not None:
            row[f"error_{mode}"] = max(o.relative_error for o in made.accuracy.outputs)
        if mode == "safe":
            safe = made
            row["parity"] = _parity(made, graph)
        if mode != "off":
            row["rules"] = dict(collections.Counter(item.op_type for item in made.rewritten))
    return row


def _parity(made: Any, graph: Any) -> str:
    """Whether two halves of a model are equal to the whole, on one random input."""
    import numpy as np

    from respect_tf import RespectError
    from respect_tf.segmentation import cut, random_inputs, verify

    stages = np.zeros(graph.num_ops, np.int32)
    stages[graph.topological_order[graph.num_ops // 2 :]] = 1
    if graph.num_ops < 2:
        return "one op"
    try:
        segments = cut(made.unpacked, graph, stages, name="model")
        verify(made.content, segments, random_inputs(graph, 1, seed=0), graph=graph)
    except RespectError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return "yes"


def _copy(row: dict[str, Any], source: str, target: str) -> None:
    for key in ("{}", "cpu_{}", "error_{}"):
        row[key.format(target)] = row.get(key.format(source))


def _built(name: str) -> tuple[Any, Any, bool]:
    import keras
    import numpy as np

    from benchmarks._architectures_classes import CLASSES
    from benchmarks._architectures_maps import MAPS
    from benchmarks._architectures_series import SERIES, WITHOUT_A_PLACE

    if name in _FAMILIES:
        from examples.applications import build_application, calibration_samples

        model = build_application(name)
        return model, calibration_samples(name, 4, input_shape=model.input_shape[1:]), True
    keras.utils.set_random_seed(0)
    model = (MAPS | CLASSES | SERIES | WITHOUT_A_PLACE)[name]()
    rng = np.random.default_rng(0)
    samples = []
    inputs = getattr(model, "inputs", None) or [keras.KerasTensor((None, 32, 32, 3), "float32")]
    for given in inputs:
        shape = (_NUM_SAMPLES, *given.shape[1:])
        integers = "int" in str(given.dtype)
        values = rng.integers(0, 50, shape) if integers else rng.normal(size=shape)
        samples.append(values.astype(str(given.dtype)))
    return model, samples, name not in WITHOUT_A_PLACE


def _mapping(graph: Any) -> tuple[int, str]:
    """Ops on the CPU, and whether all are mapped, or all but those at an end."""
    import numpy as np

    from respect_tf.device import blocking_reason, unmapped_ops, unsupported_reason

    ops = range(graph.num_ops)
    supported = [unsupported_reason(graph, op) is None for op in ops]
    blocked = any(blocking_reason(graph, op) is not None for op in ops)
    count = graph.num_ops if blocked else len(unmapped_ops(graph, ops, supported))
    bad = {op for op in ops if not supported[op]}
    if not bad:
        return count, "all"
    total = max(1, int(np.sum(graph.macs)))
    for closure in (_closure(graph, bad, True), _closure(graph, bad, False)):
        share = sum(int(graph.macs[op]) for op in closure) / total
        if share <= _END_SHARE and len(closure) <= graph.num_ops / 2:
            return count, "at an end"
    return count, f"no: {', '.join(sorted({graph.op_types[op] for op in bad}))}"


def _closure(graph: Any, bad: set[int], after: bool) -> set[int]:
    """Ops together with all that follow, or come before, them."""
    made = {t: op for op in range(graph.num_ops) for t in graph.outputs_of(op).tolist()}
    found = set(bad)
    order = list(graph.topological_order)
    for op in order if after else order[::-1]:
        before = {made[t] for t in graph.inputs_of(op).tolist() if t in made}
        if after and before & found:
            found.add(int(op))
        elif not after and int(op) in found:
            found |= before
    return found


if __name__ == "__main__":
    import keras

    resource.setrlimit(resource.RLIMIT_AS, (4 * _BYTES, 4 * _BYTES))
    resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
    seconds = _SECONDS * len(sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for given in sys.argv[1:]:
        _file(given).write_text(json.dumps(measure(given)))
        keras.backend.clear_session()
