"""The plot of a study: GPUs, cost and power of each policy over the day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .plotting import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..targets.service_plan import FleetEpoch, ServicePlan


def day_plot(plans: Sequence[ServicePlan]) -> Figure:
    """Return three panels over the hours of a day, one line a policy."""
    drawn = figure(8.0, 8.0)
    panels: tuple[tuple[str, Callable[[ServicePlan, FleetEpoch], float]], ...] = (
        ("GPUs held", lambda plan, epoch: float(sum(plan.gpus(epoch).values()))),
        ("US dollars an hour", lambda plan, epoch: epoch.usd / epoch.duration_s * 3600),
        ("mean power, kW", lambda plan, epoch: epoch.energy_j / epoch.duration_s / 1e3),
    )
    axes = drawn.subplots(len(panels), 1, sharex=True)
    for axis, (label, value) in zip(axes, panels, strict=True):
        for number, plan in enumerate(plans):
            edges = [epoch.start_s / 3600 for epoch in plan.epochs]
            edges.append(edges[-1] + plan.epochs[-1].duration_s / 3600)
            heights = [value(plan, epoch) for epoch in plan.epochs]
            colour = COLOURS[number % len(COLOURS)]
            axis.stairs(
                heights, edges, baseline=None, label=plan.policy, color=colour, linewidth=1.6
            )
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].legend(ncols=len(plans), frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    axes[-1].set_xlabel("hours since the trace begins")
    axes[-1].margins(x=0.01)
    return drawn
