"""Compiling on another machine: the commands and a Dockerfile for the saved folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

SCRIPT, DOCKERFILE = "compile.sh", "Dockerfile"

_SCRIPT = """\
#!/bin/sh
# Compiles the segments in this folder for the Edge TPU: 'sh compile.sh' on x86-64 Linux with
# Google's edgetpu_compiler (https://coral.ai/docs/edgetpu/compiler/), or in a container:
#
#   docker build --platform linux/amd64 -t edgetpu-compiler - < Dockerfile
#   docker run --rm --platform linux/amd64 --user "$(id -u):$(id -g)" \\
#     --volume "$PWD:/pipeline" edgetpu-compiler
#
# Afterwards 'respect-tf compile .' checks the compiled segments and adds them to pipeline.json.
set -eu
cd -- "$(dirname -- "$0")"
compiler=${EDGETPU_COMPILER:-edgetpu_compiler}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in \\
@NAMES@
do
  done=
  # "Internal compiler error" is sometimes random: the same command may pass later.
  for attempt in 1 2 3 4; do
    if "$compiler" --show_operations --out_dir "$work" "./$name.tflite" > "$work/printed" 2>&1 &&
      [ -s "$work/${name}_edgetpu.tflite" ]
    then
      done=yes
      break
    fi
  done
  # Without what a terminal would obey.
  LC_ALL=C tr -d '\\000-\\010\\013-\\037\\177' < "$work/printed"
  if [ -z "$done" ]; then
    printf 'error: %s.tflite could not be compiled\\n' "$name" >&2
    exit 1
  fi
  # The model last: where it is, its log is, too.
  mv "$work/printed" "./${name}_edgetpu.log"
  mv "$work/${name}_edgetpu.tflite" "./${name}_edgetpu.tflite"
done
"""

_DOCKERFILE = """\
# Google's edgetpu_compiler, which exists for x86-64 Linux only. See compile.sh for how to use this.
FROM --platform=linux/amd64 debian:bookworm-slim
RUN apt-get update && \\
    apt-get install --yes --no-install-recommends ca-certificates curl gnupg && \\
    curl --fail --silent --show-error --location \\
      https://packages.cloud.google.com/apt/doc/apt-key.gpg | \\
      gpg --dearmor --output /usr/share/keyrings/coral.gpg && \\
    echo "deb [signed-by=/usr/share/keyrings/coral.gpg] \\
https://packages.cloud.google.com/apt coral-edgetpu-stable main" \\
      > /etc/apt/sources.list.d/coral-edgetpu.list && \\
    apt-get update && \\
    apt-get install --yes --no-install-recommends edgetpu-compiler && \\
    rm -rf /var/lib/apt/lists/*
WORKDIR /pipeline
ENTRYPOINT ["sh", "/pipeline/compile.sh"]
"""


def compile_commands(names: Sequence[str]) -> tuple[str, ...]:
    """The commands that compile segments by hand, in the folder that holds them.

    Args:
        names: Base names of the segments, without ".tflite".
    """
    return tuple(
        f"edgetpu_compiler --show_operations --out_dir . {shlex.quote(_argument(f'{name}.tflite'))}"
        for name in names
    )


def _argument(name: str) -> str:
    """A file's name that no program takes for an option."""
    return f"./{name}" if name.startswith("-") else name


def files_to_compile_elsewhere(names: Sequence[str]) -> dict[str, bytes]:
    """Files for a saved folder whose segments are not compiled yet: name -> content.

    `compile.sh` compiles them, each by itself, with retries, and puts `NAME_edgetpu.tflite` and
    `NAME_edgetpu.log` beside them; `Dockerfile` makes a container that runs it.

    Args:
        names: Base names of the segments, without ".tflite".
    """
    listed = " \\\n".join(f"  {shlex.quote(name)}" for name in names)
    return {
        SCRIPT: _SCRIPT.replace("@NAMES@", listed).encode(),
        DOCKERFILE: _DOCKERFILE.encode(),
    }
