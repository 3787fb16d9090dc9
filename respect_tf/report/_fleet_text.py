"""What the plan of a fleet says, as a table and a line."""

from __future__ import annotations

from respect_tf._reporting import printable
from respect_tf.planning import FleetGroup, FleetPlan
from respect_tf.report._text import table

_MIB = 2**20


def fleet_text(plan: FleetPlan) -> str:
    """The whole plan as text."""
    shares = any(group.apart_ms for group in plan.groups)
    columns = ["model", "group", "devices", "per second", "ms", "MiB", "load"]
    columns += ["ms apart"] if shares else []
    rows = []
    for number, group in enumerate(plan.groups):
        for model in group.models:
            cells = [model, number, _way(group), f"{plan.rates[model]:,.1f}"]
            cells += [f"{group.inference_ms[model]:,.3f}"]
            cells += [f"{group.streamed_bytes[model] / _MIB:,.2f}", f"{group.load:,.0%}"]
            apart = group.apart_ms.get(model)
            cells += ["" if apart is None else f"{apart:,.3f}"] if shares else []
            rows.append(cells)
    lines = [table(columns, rows), "", _summary(plan)]
    if shares:
        lines.append(
            "ms apart: an inference right after another model's, if models that share a device "
            "were compiled apart, so that each switch brings all parameters again."
        )
    return printable("\n".join(lines))


def _summary(plan: FleetPlan) -> str:
    limits = {"the bus": plan.bus_load, "the host": plan.host_load}
    limits |= {f"group {n}": group.load for n, group in enumerate(plan.groups)}
    busiest = max(limits, key=lambda name: limits[name])
    text = f"{plan.num_devices} of {plan.max_devices} Edge TPUs ({plan.device.name}); "
    if plan.is_met:
        fewest = ""
        if plan.aim == "devices":
            known = "proved to be" if plan.has_fewest_devices else "perhaps not"
            fewest = f", {known} the fewest"
        return (
            f"{text}every rate is met{fewest}; {busiest} is busiest, at {plan.load:.0%} (predicted)"
        )
    return (
        f"{text}the rates are not met: {busiest} would have to work {plan.load:,.0%} of the time. "
        f"All of them at {100 / plan.load:.2g} % can be (predicted)"
    )


def _way(group: FleetGroup) -> str:
    count = group.num_devices
    if len(group.models) > 1:
        return f"{count}, shared"
    if group.schedule.cpu_stages:
        return f"{count}, and the host"
    if len(group.replicas) == 1:
        return "1" if count == 1 else f"{count}, copies"
    if count == len(group.replicas):
        return f"{count}, pipeline"
    return f"{count}, pipeline {'+'.join(map(str, group.replicas))}"
