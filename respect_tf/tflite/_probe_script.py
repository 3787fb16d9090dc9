"""Run .tflite models once each, in a process of its own.

Some files pass every check and still make the TFLite interpreter crash. `_probe` starts this script
and hands it models through standard input: eight bytes of length, then the model. For each, a line
of JSON comes back, `null` or what the interpreter said. A crash ends this process and harms nobody
else. The script imports nothing of the package, so that it runs wherever the package lies.
"""

from __future__ import annotations

import json
import os
import sys
import warnings


def _try(content: bytes) -> str | None:
    from tensorflow.lite.python import interpreter as lite

    try:
        interpreter = lite.Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=lite.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        return str(error)
    return None


def _main() -> None:
    warnings.simplefilter("ignore")
    # Answers keep the real standard output; whatever TensorFlow prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while True:
        header = sys.stdin.buffer.read(8)
        if len(header) < 8:
            return
        content = sys.stdin.buffer.read(int.from_bytes(header, "little"))
        answers.write(json.dumps(_try(content)) + "\n")
        answers.flush()


if __name__ == "__main__":
    _main()
