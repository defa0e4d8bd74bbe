"""The plot of a frontier: two metrics of plans against each other, `-O0` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .plotting import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..compiler.frontier import PlanFrontier

_WIDE = 20.0  # a ratio of largest to smallest from which an axis is logarithmic
# of each metric, units from the smallest: (from this amount on, in base units; its name)
_UNITS: dict[str, Sequence[tuple[float, str]]] = {
    "latency": ((1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h")),
    "energy": ((1e-3, "mJ"), (1.0, "J"), (1e3, "kJ"), (1e6, "MJ")),
    "cost": ((1.0, "US dollars"),),
    "accuracy": ((1.0, ""),),
    "gpus": ((1.0, ""),),
}
_FEW = 5  # of a unit: below it the next smaller one is easier to read


def frontier_plot(found: PlanFrontier) -> Figure:
    """Return the frontier as a line of steps: what is reached by each limit on the first metric."""
    from matplotlib.ticker import MaxNLocator

    drawn = figure(7.0, 4.6)
    axes = drawn.subplots()
    places = [found.at(point.plan.predicted) for point in found.points]
    other = None if found.reference is None else found.at(found.reference)
    shown = places if other is None else [*places, other]
    units = [
        _unit(metric, max(place[i] for place in shown)) for i, metric in enumerate(found.metrics)
    ]
    (across, wide), (up, high) = units
    xs, ys = [x / across for x, _ in places], [y / up for _, y in places]
    # a plan stays the best until the limit lets the next one in, on whichever side that is
    where = "steps-pre" if found.metrics[0] == "accuracy" else "steps-post"
    order = sorted(range(len(xs)), key=xs.__getitem__)
    line = ([xs[i] for i in order], [ys[i] for i in order])
    axes.plot(*line, drawstyle=where, color=COLOURS[0], linewidth=1.6, zorder=2)
    axes.plot(xs, ys, "o", color=COLOURS[0], markersize=6, label="plans on the frontier", zorder=3)
    for number, place in enumerate(zip(xs, ys, strict=True), start=1):
        axes.annotate(
            str(number), place, xytext=(5, 5), textcoords="offset points", fontsize=8, color="#444"
        )
    if other is not None:
        at = (other[0] / across, other[1] / up)
        axes.plot(*at, "D", color=COLOURS[1], markersize=6, label="-O0", zorder=3)
    names = zip(found.axes, (wide, high), strict=True)
    label, beside = (f"{name}, {unit}" if unit else name for name, unit in names)
    axes.set_xlabel(label)
    axes.set_ylabel(beside)
    _scale(axes, shown)
    for metric, axis in zip(found.metrics, (axes.xaxis, axes.yaxis), strict=True):
        if metric == "gpus" and axis.get_scale() == "linear":
            axis.set_major_locator(MaxNLocator(integer=True))
    plan = found.points[0].plan
    axes.set_title(f"{plan.workflow} on {plan.cluster}", loc="left", fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="best")
    return drawn


def _unit(metric: str, largest: float) -> tuple[float, str]:
    """Return the size of a unit in base units, and its name, for amounts up to the largest."""
    units = _UNITS[metric]
    fitting = [unit for unit in units if unit[0] * _FEW <= largest]
    return fitting[-1] if fitting else units[0]


def _scale(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """Make the axes logarithmic whose amounts are of very different size."""
    for values, scale in zip(
        zip(*places, strict=True), (axes.set_xscale, axes.set_yscale), strict=True
    ):
        if min(values) > 0 and max(values) / min(values) > _WIDE:
            scale("log")
