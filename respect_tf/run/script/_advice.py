"""What libedgetpu and interpreter packages go together, and what their messages mean.

From public issues and changelogs: google-coral/edgetpu#812, google-coral/libedgetpu#53,
google-ai-edge/LiteRT#3611, and the releases of feranick/libedgetpu.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from respect_tf.run.script._packages import InterpreterPackage


def hint(said: str) -> str:
    """What a message of TFLite or libedgetpu means; empty where that is not known."""
    found = re.search(r"requires runtime version \((\d+)\).*this runtime version \((\d+)\)", said)
    if found:
        return (
            f". The model was compiled for a newer Edge TPU runtime: compile it with "
            f"'edgetpu_compiler -m {found[2]}', or install a newer libedgetpu"
        )
    if "edgetpu-custom-op" in said and ("unresolved" in said or "Didn't find" in said):
        return ". It is compiled for the Edge TPU, and no delegate took it"
    if "custom op handler" in said or "single_input_size" in said:
        return ". libedgetpu and the interpreter do not fit together"
    if "Didn't find op for builtin opcode" in said:
        return (
            ". The interpreter is older than the TensorFlow that made the model, as tflite_runtime "
            "2.5 is for most: install ai-edge-litert"
        )
    return ""


def what_fits(package: InterpreterPackage | None = None) -> str:
    """What to install on this machine: which libedgetpu goes with which interpreter."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    system = f"Python {python} on {platform.machine() or 'this machine'}"
    debian = installed_runtime()
    present = [f"libedgetpu {debian}"] if debian else []
    present += [str(package)] if package else []
    here = f"Here is {' with '.join(present)}" if present else ""
    if debian == "16.0" and package and not fits_google(package):
        here += ", and Google's libedgetpu 16.0 works with tflite_runtime 2.5.0 to 2.11.1 only"
    old = sys.version_info[:2] <= (3, 9)
    choice = "either Google's libedgetpu1-std 16.0 with tflite_runtime 2.5.0, or " if old else ""
    return (
        f"{here}{here and '. '}For {system}: {choice}'pip install ai-edge-litert' with libedgetpu "
        "16.0TF2.19.1 or newer of https://github.com/feranick/libedgetpu; or tflite_runtime of "
        "https://github.com/feranick/TFlite-builds with the libedgetpu of the same number"
    )


def fits_google(package: InterpreterPackage) -> bool:
    """Whether an interpreter is known to work with Google's own libedgetpu 16.0."""
    numbers = re.findall(r"\d+", package.version)[:2]
    if package.name == "ai_edge_litert" or len(numbers) < 2:
        return False
    return (2, 5) <= (int(numbers[0]), int(numbers[1])) <= (2, 11)


def fits(package: InterpreterPackage, runtime: str) -> bool:
    """Whether an interpreter is known to work with a version of Debian's libedgetpu."""
    wanted = re.search(r"TF(\d+\.\d+)", runtime, re.IGNORECASE)
    if wanted is None:
        return fits_google(package)
    if package.name == "ai_edge_litert":
        return tuple(map(int, wanted[1].split("."))) >= (2, 19)
    return package.version.startswith(f"{wanted[1]}.")


def installed_runtime(status: str = "/var/lib/dpkg/status") -> str:
    """The version of Debian's package libedgetpu1-std or -max; empty if there is none."""
    try:
        text = Path(status).read_text("utf-8", "replace")
    except OSError:
        return ""
    for block in text.split("\n\n"):
        if re.search(r"^Package: libedgetpu1-(std|max)$", block, re.MULTILINE):
            found = re.search(r"^Version: (.+)$", block, re.MULTILINE)
            if found and "ok installed" in block:
                return found[1].strip()
    return ""
