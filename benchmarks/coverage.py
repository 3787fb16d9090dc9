"""Which models map completely, with and without rewriting, and how far int8 is from float.

A row per model: one of every family of keras.applications at its own size, and small architectures
built from layers. Each is built and converted in a process of its own, which may take ten minutes
and 16 GiB; what does not fit is named. A model counts as mapped where every op is on the Edge TPU,
or what is not stands in one CPU stage at an end, with at most 5 % of the model's multiplications.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
from typing import Any

from benchmarks._tables import RESULTS, write_results

_SECONDS, _BYTES = 600, 16 * 2**30
_END_SHARE = 0.05
_NUM_SAMPLES = 12
_FAMILIES = (
    "Xception", "VGG16", "ResNet50", "ResNet50V2", "InceptionV3", "InceptionResNetV2", "MobileNet",
    "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "DenseNet121", "NASNetMobile",
    "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny",
)  # fmt: skip
_MODES = ("off", "safe", "all")
_PARTIAL = RESULTS.parents[1] / ".cache" / "coverage"

_NOTES = f"""
"CPU ops" counts ops that stay on the CPU of a model on one Edge TPU, as `respect_tf.predict` counts
them; an op that stops the compiler puts all of them there. "at an end": the ops that are not mapped
XX at most {_END_SHARE:.0%} of the multiplications. Error: the
difference of int8 and float outputs relative to the float outputs (Euclidean norms), mean over
samples, the worst output. Weights are random; those of keras.applications are
`examples.applications`'s. Parity: two segments equal the whole model bit for bit.
"""


def main() -> None:
    """Make the rows that are not there yet, and the table."""
    rows = [_row(name) for name in _names()]
    placed = [row for row in rows if row["place"]]
    shares = {
        mode: sum(row[mode] in ("all", "at an end") for row in placed) / len(placed)
        for mode in _MODES
    }
    table = [_table_row(row) for row in rows]
    said = ", ".join(f'"{mode}" {share:.0%}' for mode, share in shares.items())
    write_results(
        "coverage",
        "Models that map completely",
        table,
        f"Of {len(placed)} models that have a place on an Edge TPU, mapped completely: {said}.\n"
        + _NOTES,
    )


def _names() -> list[str]:
    from benchmarks._architectures_classes import CLASSES
    from benchmarks._architectures_maps import MAPS
    from benchmarks._architectures_series import SERIES, WITHOUT_A_PLACE

    return [*_FAMILIES, *MAPS, *CLASSES, *SERIES, *WITHOUT_A_PLACE]


def _row(name: str) -> dict[str, Any]:
    """The row of a model, made in a process of its own unless it is there."""
    path = _PARTIAL / f"{name.replace(' ', '_').replace('/', '_')}.json"
    if not path.exists():
        command = [sys.executable, "-m", "benchmarks.coverage", name]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            lines = done.stdout.strip().splitlines()
            row = json.loads(lines[-1]) if done.returncode == 0 else _failed(name, done.stderr)
        except subprocess.TimeoutExpired:
            row = _failed(name, f"more than {_SECONDS} seconds")
        _PARTIAL.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
        print(row, file=sys.stderr)
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def _failed(name: str, said: str) -> dict[str, Any]:
    reason = said.strip().splitlines()[-1][:160] if said.strip() else "killed"
    return {"name": name, "place": True, "off": reason, "safe": reason, "all": reason}


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
    import respect_tf

    model, samples, place = _built(name)
    row: dict[str, Any] = {"name": name, "place": place}
    contents: dict[str, bytes] = {}
    for mode in _MODES:
        try:
            pipeline = respect_tf.convert(
                model, 2, samples, rewrite=mode, scheduler="slicing", compile=False, strict=False,
                verify=mode == "all", verbose=0,
            )  # fmt: skip
        except respect_tf.RespectError as error:
            row[mode] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
            continue
        contents[mode] = pipeline.model
        row[f"cpu_{mode}"], row[mode] = _mapping(pipeline.graph)
        same = next(m for m in _MODES if contents.get(m) == pipeline.model)
        row[f"error_{mode}"] = (
            row[f"error_{same}"] if same != mode else _error(model, pipeline, samples)
        )
        if mode == "all":
            row["parity"] = "yes" if pipeline.parity is not None else "no"
            row["rules"] = _counted(pipeline.rewritten)
    return row


def _counted(lines: tuple[str, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in lines:
        number, kind = line.split()[:2]
        counts[kind] = counts.get(kind, 0) + int(number)
    return counts


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
    for given in model.inputs or [keras.KerasTensor((None, 32, 32, 3), "float32")]:
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


def _error(model: Any, pipeline: Any, samples: Any) -> float:
    import numpy as np

    arrays = samples if isinstance(samples, list) else [samples]
    count = min(4, len(arrays[0]))
    errors = []
    for index in range(count):
        one = [array[index : index + 1] for array in arrays]
        expected = model(one if len(one) > 1 else one[0], training=False)
        found = pipeline.predict(one if len(one) > 1 else one[0])
        named = found if isinstance(found, dict) else {"": found}
        if isinstance(expected, dict):
            pairs = [(expected[key], named[key]) for key in named]
        else:
            listed = expected if isinstance(expected, list | tuple) else [expected]
            pairs = list(zip(listed, named.values(), strict=True))
        worst = max(
            float(
                np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b))
                / max(float(np.linalg.norm(np.asarray(a, np.float64))), 1e-9)
            )
            for a, b in pairs
        )
        errors.append(worst)
    mean = float(np.mean(errors))
    return mean if math.isfinite(mean) else -1.0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (4 * _BYTES, 4 * _BYTES))
    resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
    print(json.dumps(measure(sys.argv[1])))
