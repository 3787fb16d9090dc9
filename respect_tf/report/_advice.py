"""What a report advises to do next, and what its words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from respect_tf.report._report import Report

# A gap from which on it needs a sentence.
_WIDE_GAP = 0.05

GLOSSARY = (
    ("segment", "a .tflite file with the ops of one stage"),
    ("cached", "parameters that stay in the Edge TPU's memory"),
    ("streamed", "parameters that do not fit, and come from the host at every inference"),
    ("room left", "memory for further parameters, beside instructions and activations"),
    ("overhead", "what an inference takes that does next to nothing"),
    ("limited by", "the slowest stage, the bus that the devices share, or the host's own work"),
    ("gap", "how far above the optimum the cut can be at most; proved optimal means 0"),
)
"""Words of the tables, with what they mean."""


def next_steps(report: Report) -> list[str]:
    """What to do next, in the order in which it pays."""
    predicted = [stage.on_device for stage in report.stages]
    on_tpu = [one for one in predicted if not one.predicted.on_cpu]
    steps = []
    if any(one.predicted.blockers for one in on_tpu) or any(
        one.predicted.cpu_ops for one in on_tpu
    ):
        steps.append(
            'replace the ops that stay on the CPU, or see what rewriting them brings: rewrite="all"'
        )
    if len(report.speed.by_host) > 1:
        steps.append(
            'name your host, for a cut that is best there: device="usb3-pi5" (respect-tf devices)'
        )
    if report.speed.fewest_tpus is not None:
        steps.append("use fewer Edge TPUs, which would be as fast, or a copy of the model on each")
    streamed = sum(one.predicted.streamed_bytes for one in on_tpu)
    more = [known for known in report.frames if known.num_devices > sum(report.replicas)]
    if streamed and more:
        best = more[-1]
        steps.append(
            f"with {best.num_devices} Edge TPUs: {best.frames_per_second:,.1f} frames/s (predicted)"
        )
    if report.status == "feasible" and (report.gap or 0) > _WIDE_GAP:
        steps.append("search longer for a better cut or a proof: time_limit=60")
    if any(one.logged is None for one in on_tpu):
        steps.append("compile on x86-64 Linux: respect-tf compile FOLDER, or compile.sh in it")
    else:
        steps.append(
            "run it: python3 run_pipeline.py --verify, then --benchmark 200 --csv times.csv"
        )
    return steps


def proof_of(status: str, gap: float | None) -> str:
    """How good a cut is, in words."""
    if status.startswith("optimal"):
        return "proved optimal" if status == "optimal" else f"proved {status}"
    if gap is None:
        return "not proved"
    if gap <= _WIDE_GAP:
        return f"at most {gap:.2%} above the optimum"
    return (
        f"at most {gap:.0%} above the optimum: nothing better was found, and nobody has shown that "
        "nothing better exists"
    )
