"""`mkb pareto`: what a workflow's plans can trade of one metric for another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.workflow import METRICS
from .display import safe
from .options import common, compile_flags, request
from .output import Output

if TYPE_CHECKING:
    from ..compiler.frontier import PlanFrontier, Point
    from ..targets.plan import Prediction

_POINTS = 12
_PROVED = 1e-9  # a gap that is rounding alone
_MOST_CHANGES = 3  # that are told from one point to the next


@click.command
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--metrics",
    metavar="M,M",
    help='The two metrics: latency (or "p95 latency"), energy, cost, gpus, accuracy.',
)
@click.option(
    "--points",
    metavar="N",
    type=int,
    default=_POINTS,
    show_default=True,
    help="At most so many points; spread over the frontier where it has more.",
)
@click.option(
    "--plot",
    "plot_to",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Draw the frontier here (.png, .svg, .pdf).",
)
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep each point's plan here, as DIR/1.json, …, in the place of those of an earlier run.",
)
@compile_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: Path,
    metrics: str | None,
    points: int,
    plot_to: Path | None,
    save: Path | None,
    **flags: Any,
) -> None:
    """Say what a workflow's plans can trade of one metric for another.

    Finds the Pareto frontier: the plans that no other plan beats in one metric without losing in
    the other, all of which meet the requirements. Left out, the metrics are latency and what the
    workflow minimises first beside it.
    """
    from ..compiler.frontier import compile_frontier

    if plot_to is not None:
        from .plotting import checked

        checked(plot_to)
    stale = [] if save is None else _stale(save)
    from .live import shown_count

    with shown_count("plan", output) as told:
        found = compile_frontier(request(file, flags), metrics, points, output.sources, told)
    output.report(found.warnings)
    for path in stale:
        path.unlink(missing_ok=True)
    written = _saved(found, save, output)
    if plot_to is not None:
        from .frontierplot import frontier_plot
        from .plotting import save as write_plot

        write_plot(frontier_plot(found), plot_to)
    output.result(_text(found), _document(found, written))


def _stale(folder: Path) -> list[Path]:
    """Return the plans of an earlier run in the folder, which those of this one replace.

    Raises `InputError` for a folder with anything else in it, before a long search.
    """
    import json

    from ..ir.diagnostics import Diagnostic, InputError
    from ..targets.plan import SCHEMA

    def ours(path: Path) -> bool:
        if not path.stem.isdecimal() or path.suffix != ".json" or not path.is_file():
            return False
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(document, dict) and document.get("schema") == SCHEMA

    try:
        inside = sorted(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        message = f"cannot save into `{folder}`: {(error.strerror or '').lower()}"
        raise InputError(Diagnostic("unwritable-file", message)) from error
    foreign = next((path for path in inside if not ours(path)), None)
    if foreign is not None:
        message = f"`{folder}` holds `{foreign.name}`, which is no plan of an earlier `--save`"
        help = "name an empty folder, or one that is not there yet"
        raise InputError(Diagnostic("unwritable-file", message, help=help))
    return inside


def _saved(found: PlanFrontier, folder: Path | None, output: Output) -> list[str | None]:
    """Write the plans into a folder, if there is one; return where each is."""
    if folder is None:
        return [None] * len(found.points)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from ..ir.diagnostics import Diagnostic, InputError

        message = f"cannot make the folder `{folder}`: {(error.strerror or '').lower()}"
        raise InputError(Diagnostic("unwritable-file", message)) from error
    paths = [str(folder / f"{number}.json") for number in range(1, len(found.points) + 1)]
    for path, point in zip(paths, found.points, strict=True):
        output.write(path, point.plan.to_json())
    return list(paths)


def _document(found: PlanFrontier, written: list[str | None]) -> dict[str, Any]:
    from dataclasses import asdict

    from .steps import changes

    plans = [point.plan for point in found.points]
    return {
        "metrics": [
            {"metric": metric, "percentile": percentile if metric == "latency" else None}
            for metric, percentile in zip(found.metrics, found.percentiles, strict=True)
        ],
        "complete": found.complete,
        "points": [
            {
                "values": found.at(point.plan.predicted),
                "gap": point.gap,
                "predicted": asdict(point.plan.predicted),
                "changes": changes(plans[number - 1], point.plan) if number else [],
                "written": path,
            }
            for number, (point, path) in enumerate(zip(found.points, written, strict=True))
        ],
        "reference": None if found.reference is None else asdict(found.reference),
    }


def _text(found: PlanFrontier) -> str:
    from itertools import pairwise

    from . import figures
    from .steps import changes
    from .tables import indent, table

    others = [metric for metric in METRICS if metric not in found.metrics]

    def row(name: str, predicted: Prediction, proof: str) -> list[str]:
        values = [*found.at(predicted), *map(predicted.of, others)]
        shown = zip((*found.metrics, *others), values, strict=True)
        return [name, *(figures.METRICS[metric](value) for metric, value in shown), proof]

    rows = [
        row(str(number), point.plan.predicted, _proof(point))
        for number, point in enumerate(found.points, start=1)
    ]
    if found.reference is not None:
        rows.append(row("-O0", found.reference, ""))
    known = {"latency": "p50 latency", "gpus": "GPUs"}
    beside = [known.get(metric, metric) for metric in others]
    parts = [
        click.style(safe(_title(found)), bold=True),
        indent(table(("point", *found.axes, *beside, "proof"), rows)),
    ]
    turns = [
        [f"{number} to {number + 1}", _few(changes(one.plan, other.plan))]
        for number, (one, other) in enumerate(pairwise(found.points), start=1)
    ]
    if turns:
        parts.append(indent(table(("from", "what changes"), turns, left=2)))
    if not found.complete:
        note = "there are more points between these, which were not looked for; `--points N` does"
        parts.append(indent(f"note: {note}"))
    return "\n\n".join(parts)


def _title(found: PlanFrontier) -> str:
    from .figures import several

    plan = found.points[0].plan
    trade = f"{found.axes[0]} against {found.axes[1]}"
    where = f"target `{plan.target}` on cluster `{plan.cluster}`"
    return f"workflow `{plan.workflow}` for {where}: {trade}, {several(len(found.points), 'point')}"


def _proof(point: Point) -> str:
    from .figures import percent

    if point.gap is None:
        return "none"
    return f"gap {percent(point.gap)}" if point.gap > _PROVED else "proved"


def _few(changed: list[str]) -> str:
    """Return the first changes, and how many more there are."""
    if not changed:
        return "the same choices at other times"
    more = len(changed) - _MOST_CHANGES
    return "; ".join([*changed[:_MOST_CHANGES], *([f"and {more} more"] if more > 0 else [])])
