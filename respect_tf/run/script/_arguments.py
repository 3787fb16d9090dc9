"""The command line of `run_pipeline.py`."""

from __future__ import annotations

import argparse

from respect_tf.run.script._loading import BACKENDS


def parse_arguments() -> argparse.Namespace:
    """What it says; ends the process with exit code 2 where that is wrong."""
    parser = argparse.ArgumentParser(
        description="Run the pipeline in this folder on Edge TPUs, or on the CPU."
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="samples [num_samples, ...] or one sample: .npy, or .npz with one array per input; or "
        "a picture or a folder of them. Floats are quantised",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="where results go: .npy, or .npz for several outputs"
    )
    parser.add_argument(
        "--raw", action="store_true", help="results as the model gives them, not as real numbers"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare each segment with what the folder holds"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="D", help="of --verify; default: 0"
    )
    parser.add_argument(
        "--benchmark", type=count, default=0, metavar="N", help="time N inferences of each segment"
    )
    parser.add_argument(
        "--csv", default="benchmark.csv", metavar="FILE", help="times of --benchmark go here"
    )
    parser.add_argument(
        "--serve", metavar="SOCKET", help="answer requests at this path, or at tcp:PORT, local only"
    )
    parser.add_argument("--list-devices", action="store_true", help="show the Edge TPUs and stop")
    parser.add_argument("--cpu", action="store_true", help="run on this machine's CPU instead")
    parser.add_argument(
        "--backend",
        choices=["auto", *BACKENDS, "pycoral"],
        default="auto",
        help="whose interpreter runs segments",
    )
    parser.add_argument(
        "--devices", metavar="A,B,...", help="one per segment and replica, as usb:0,usb:1 or pci:0"
    )
    parser.add_argument(
        "--replicas", type=counts, metavar="N,M,...", help="devices of each segment; default: 1"
    )
    parser.add_argument(
        "--performance", choices=["Low", "Medium", "High", "Max"], help="libedgetpu's option"
    )
    parser.add_argument("--mean", type=float, help="of pixels 0 to 255, where the folder has none")
    parser.add_argument("--std", type=float, help="of pixels 0 to 255, where the folder has none")
    parser.add_argument("--warm-up", type=count, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="longest inference"
    )
    arguments = parser.parse_args()
    modes = ("input", "benchmark", "list_devices", "verify", "serve")
    if not any(getattr(arguments, mode) for mode in modes):
        parser.error("one of --input, --verify, --benchmark, --serve and --list-devices is needed")
    return arguments


def count(text: str) -> int:
    """A whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def counts(text: str) -> tuple[int, ...]:
    return tuple(map(count, text.split(",")))


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError(text)
    return value
