"""What a saved pipeline needs to run where respect_tf is not installed."""

from __future__ import annotations

import ast
import functools
from importlib import resources

RUN_SCRIPT = "run_pipeline.py"
RUN_README = "README.md"

# In an order in which each knows only those before it.
_PARTS = (
    "_channel",
    "_stages",
    "_packages",
    "_advice",
    "_interpreters",
    "_trial",
    "_devices",
    "_balance",
    "_worker_state",
    "_engine",
    "_folder",
    "_samples",
    "_verify",
    "_wire",
    "_serve",
    "_loading",
    "_benchmark",
    "_arguments",
    "_main",
)


@functools.cache
def run_script() -> bytes:
    """The text of `run_pipeline.py`, joined from the modules of `respect_tf.run.script`."""
    folder = resources.files("respect_tf.run.script")
    names: dict[str | None, set[str]] = {}  # None: of whole modules
    bodies, about = [], ""
    for name in _PARTS:
        text = folder.joinpath(f"{name}.py").read_text("utf-8")
        tree = ast.parse(text)
        about = ast.get_docstring(tree) or ""
        start = 1
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None)
                if module is None or not module.startswith(("respect_tf", "__future__")):
                    names.setdefault(module, set()).update(map(ast.unparse, node.names))
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                break
            start = (node.end_lineno or 0) + 1
        body = "\n".join(text.splitlines()[start - 1 :]).strip("\n")
        bodies.append(f"# {'-' * 10} {name.strip('_')} {'-' * 10}\n\n{body}\n")
    head = ["#!/usr/bin/env python3", f'"""{about}\n"""', "", "from __future__ import annotations"]
    # The last part's docstring is the program's.
    imports = [f"import {module}" for module in sorted(names.pop(None, set()))]
    imports += [f"from {module} import {', '.join(sorted(names[module]))}" for module in names]
    lines = [*head, "", *imports, "", "", "\n\n".join(bodies)]
    end = 'if __name__ == "__main__":\n    sys.exit(main())\n'
    return ("\n".join(lines) + "\n\n" + end).encode()


def run_readme(name: str, num_devices: int) -> bytes:
    """How to run a saved folder on a Raspberry Pi, for who finds it there.

    Args:
        name: The model's name.
        num_devices: How many Edge TPUs it needs.
    """
    plural = "s" if num_devices != 1 else ""
    return f"""# {name.replace("`", "'")}

A model in segments for {num_devices} Coral Edge TPU{plural}. On a Raspberry Pi:

1. Plug the Edge TPU{plural} into USB 3 (blue) ports; several need a hub with a supply of its own.
2. Install the runtime, `libedgetpu1-std` 16.0TF2.19.1 or newer, from
   https://github.com/feranick/libedgetpu; your user has to be in the group `plugdev`.
3. `python3 -m venv env && env/bin/pip install numpy ai-edge-litert pillow`
4. `env/bin/python run_pipeline.py --cpu --verify` runs all of it on the Pi's own processor.
5. `env/bin/python run_pipeline.py --list-devices` has to show {num_devices} device{plural}.
6. `env/bin/python run_pipeline.py --verify` names the first segment that a device gets wrong.
7. `env/bin/python run_pipeline.py --input photo.jpg` (or `.npy`, or a folder of pictures).
8. `env/bin/python run_pipeline.py --benchmark 200` gives times per segment and device.
9. `env/bin/python run_pipeline.py --serve /tmp/it.sock` answers `run_pipeline.Client` elsewhere.
10. Files `*_edgetpu.tflite` missing? Compile them on an x86-64 Linux machine: `sh compile.sh`.
""".encode("utf-8", "replace")
