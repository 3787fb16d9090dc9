"""Stands in for Google's `edgetpu_compiler`: its command line, its exit codes, what it prints.

What it prints is modelled on public logs of the releases 15.0 and 16.0. How it behaves is told by a
JSON file that the environment variable STAND_IN_PLAN names; keys that are missing mean success:

* version: what it says of itself.
* hang: it never ends; "child" says that a program that it started does not.
* own_timeout: it ends when its own timer does.
* segfault, silent, no_output, damaged, other_interface: true.
* fail_first: so many runs end with an internal error, counted in the folder `counter`.
* fail_on, cpu_ops: names of op types on which it fails, or which it leaves on the CPU.
* room_bytes: memory for parameters on the device; a list has one number per segment.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

LATEST = "16.0.384591198"
PARTLY = (
    "Model successfully compiled but not all operations are supported by the Edge TPU. A "
    "percentage of the model will instead run on the CPU, which is slower. If possible, consider "
    "updating your model to use only operations supported by the Edge TPU. For details, visit "
    "g.co/coral/model-reqs."
)


def main() -> int:
    plan = json.loads(Path(os.environ["STAND_IN_PLAN"]).read_text("utf-8"))
    version = plan.get("version", LATEST)
    release = int(version.split(".")[0])
    arguments = parse_arguments(release)
    print(f"Edge TPU Compiler version {version}", flush=True)
    if arguments.version:
        return 0
    if plan.get("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if plan.get("silent"):
        return 0
    if "counter" in plan and plan.get("fail_first", 0) > count_run(plan):
        print("\nInternal compiler error. Aborting! ")
        return 1
    if release >= 16:
        print(
            f"Started a compilation timeout timer of {arguments.timeout_sec} seconds.", flush=True
        )
    if plan.get("hang"):
        hang(plan["hang"])
    if plan.get("own_timeout"):
        time.sleep(arguments.timeout_sec)
        print("Compilation timeout. This is usually caused by large activations.")
        print("Compilation failed! ")
        return 1
    return compile_file(arguments, plan, version, release)


def parse_arguments(release: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-o", "--out_dir", type=Path, default=Path())
    parser.add_argument("-s", "--show_operations", action="store_true")
    parser.add_argument("-m", "--min_runtime_version", type=int, default=14)
    parser.add_argument("-a", "--enable_multiple_subgraphs", action="store_true")
    parser.add_argument("-v", "--version", action="store_true")
    if release >= 16:
        parser.add_argument("-t", "--timeout_sec", type=int, default=180)
    parser.add_argument("model", type=Path, nargs="?")
    return parser.parse_args()


def count_run(plan: dict) -> int:
    """How many runs there were before this one."""
    for number in range(10_000):
        try:
            (Path(plan["counter"]) / str(number)).touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise RuntimeError("counted too far")


def hang(how: str) -> None:
    if how == "child":
        subprocess.run(["sleep", "600"], check=False)
    time.sleep(600)


def compile_file(arguments, plan: dict, version: str, release: int) -> int:
    from compiled_models import (
        EXECUTION_ONLY,
        PARAMETER_CACHING,
        Program,
        compile_ops,
        compiled_like,
        options,
        package,
    )

    from respect_tf.device import op_parameters
    from respect_tf.graph import OpGraph

    content = arguments.model.read_bytes()
    graph = OpGraph.from_tflite(content)
    quantized = any(dtype in ("int8", "uint8") for dtype in graph.tensor_dtypes)
    if not quantized:
        print(f"Invalid model: {arguments.model}\nModel not quantized")
        return 1
    if set(plan.get("fail_on", [])) & set(graph.op_types):
        print("ERROR: Restored original execution plan after delegate application failure.")
        print("Compilation failed: Compilation failed due to large activation tensors in model.")
        if release >= 16:
            print("Compilation child process completed within timeout period.")
        print("Compilation failed! ")
        return 1

    cpu_ops = [op for op, kind in enumerate(graph.op_types) if kind in plan.get("cpu_ops", [])]
    num_mapped = cpu_ops[0] if cpu_ops else graph.num_ops
    room = plan.get("room_bytes", 7 * 2**20)
    if isinstance(room, list):
        found = re.search(r"_segment_(\d+)_of_", arguments.model.stem)
        room = room[int(found[1])] if found else room[0]
    used = streamed = 0
    for size in op_parameters(graph).logged[:num_mapped].tolist():
        if used + size <= room:
            used += size
        else:
            streamed += size
    programs = [
        Program(EXECUTION_ONLY, streamed, (640,)),
        Program(PARAMETER_CACHING, used, (64,)),
    ]
    runtime = arguments.min_runtime_version
    made = compile_ops(content, num_mapped, options(package(programs, runtime=runtime)))
    if plan.get("damaged"):
        made = made[: len(made) // 3]
    if plan.get("other_interface"):
        made = compiled_like(Path(plan["other_interface"]).read_bytes())
    target = arguments.out_dir / f"{arguments.model.stem}_edgetpu.tflite"
    log = arguments.out_dir / f"{arguments.model.stem}_edgetpu.log"
    table = operation_table(graph, num_mapped, plan)
    if not plan.get("no_output"):
        target.write_bytes(made)
        log.write_text(
            f"Edge TPU Compiler version {version}\nInput: {arguments.model}\n"
            f"Output: {target}\n\n{table}\n"
        )

    print("\nModel compiled successfully in 12 ms.\n")
    print(f"Input model: {arguments.model}\nInput size: {shown(len(content))}")
    print(f"Output model: {target}\nOutput size: {shown(len(made))}")
    print(f"On-chip memory used for caching model parameters: {shown(used)}")
    print(f"On-chip memory remaining for caching model parameters: {shown(room - used)}")
    print(f"Off-chip memory used for streaming uncached model parameters: {shown(streamed)}")
    print(f"Number of Edge TPU subgraphs: {int(num_mapped > 0)}")
    print(f"Total number of operations: {graph.num_ops}\nOperation log: {log}")
    if num_mapped < graph.num_ops:
        print(f"\n{PARTLY}\nNumber of operations that will run on Edge TPU: {num_mapped}")
        print(f"Number of operations that will run on CPU: {graph.num_ops - num_mapped}")
    if arguments.show_operations:
        print(f"\n{table}")
    else:
        print("See the operation log file for individual operation details.")
    if release >= 16:
        print("Compilation child process completed within timeout period.")
        print("Compilation succeeded! ")
    return 0


def operation_table(graph, num_mapped: int, plan: dict) -> str:
    statuses: collections.Counter = collections.Counter()
    for op, kind in enumerate(graph.op_types):
        status = "Mapped to Edge TPU"
        if op >= num_mapped:
            status = "More than one subgraph is not supported"
        if kind in plan.get("cpu_ops", []):
            status = "Operation not supported"
        statuses[kind, status] += 1
    rows = [f"{kind:<31}{count:<11}{status}" for (kind, status), count in statuses.items()]
    return "\n".join(["Operator                       Count      Status", "", *rows])


def shown(size: float) -> str:
    for unit in ("B", "KiB"):
        if size < 1024:
            return f"{size:.2f}{unit}"
        size /= 1024
    return f"{size:.2f}MiB"


if __name__ == "__main__":
    sys.exit(main())
