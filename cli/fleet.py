"""`mkb fleet`: a day of a service, planned by several policies."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import common
from .output import Output

if TYPE_CHECKING:
    from ..passes.fleet.day import DayPlan
    from ..runtime.replay import ClassReplay
    from ..targets.service_plan import ServicePlan

_POLICIES = ("static", "autoscale", "separate", "osdi26", "joint")


@click.command
@click.argument("file", metavar="STUDY", type=click.Path(path_type=Path))
@click.option(
    "--policies",
    metavar="P,…",
    help=f"Plan by these instead of the study's: {', '.join(_POLICIES)}.",
)
@click.option(
    "--objective",
    type=click.Choice(["cost", "energy", "gpus"]),
    help="Minimise this instead of what the study says.",
)
@click.option("--csv", "table_to", metavar="F", help="Write a line for each epoch and policy here.")
@click.option(
    "--plot", "plot_to", metavar="F", type=click.Path(path_type=Path), help="Draw the day here."
)
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep each policy's plan here, as DIR/POLICY.json.",
)
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: Path,
    policies: str | None,
    objective: Any,
    table_to: str | None,
    plot_to: Path | None,
    save: Path | None,
) -> int:
    """Plan a day of a service by several policies.

    STUDY (TOML) says which workflows there are, what their requests ask for, when they come, and
    what hardware there is. Each plan is replayed second by second. Ends with 1 where a class that a
    policy plans for misses what it asks.
    """
    from dataclasses import replace

    from ..compiler.fleet import study_programs
    from ..passes.fleet.day import plan_day
    from ..passes.fleet.problem import fleet_problem
    from ..passes.fleet.readout import explained, service_plan
    from ..runtime.replay import replay
    from ..targets.study import load_study
    from .fleetplot import day_plot
    from .plotting import checked
    from .plotting import save as write_plot

    if plot_to is not None:
        checked(plot_to)
    study = load_study(file)
    if policies is not None:
        study = replace(study, policies=_named(policies))
    if objective is not None:
        study = replace(study, objective=objective)
    fleet = fleet_problem(study, study_programs(study, output.sources))
    days: list[DayPlan] = []
    plans: list[ServicePlan] = []
    replays: list[tuple[ClassReplay, ...]] = []
    for policy in study.policies:
        days.append(plan_day(study, fleet, policy))
        plans.append(service_plan(study, fleet, days[-1]))
        replays.append(replay(plans[-1]))
    if table_to is not None:
        output.write(table_to, _lines(plans))
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        for day, plan in zip(days, plans, strict=True):
            kept = replace(plan, explained=explained(fleet, day))
            output.write(str(save / f"{plan.policy}.json"), kept.to_json())
    if plot_to is not None:
        write_plot(day_plot(plans), plot_to)
    rows = [_row(*each) for each in zip(days, plans, replays, strict=True)]
    grid = study.cluster.grid
    if grid is not None:
        # MWh times g / kWh are kg
        rows = [row | {"carbon_kg": row["energy_mwh"] * grid.g_per_kwh} for row in rows]
    output.result(_text(study.name, rows), {"study": study.name, "policies": rows})
    planned = [row for row in rows if row["policy"] not in ("static", "autoscale")]
    return int(any(not kind["meets"] for row in planned for kind in row["classes"]))


def _named(policies: str) -> tuple[Any, ...]:
    from ..ir.diagnostics import did_you_mean

    found = tuple(name.strip() for name in policies.split(","))
    for name in found:
        if name not in _POLICIES:
            hint = did_you_mean(name, _POLICIES) or f"there are {', '.join(_POLICIES)}"
            raise click.UsageError(f"no policy `{name}`: {hint}")
    if len(set(found)) < len(found):
        raise click.UsageError("a policy is named twice")
    return found


def _row(day: DayPlan, plan: ServicePlan, replayed: Sequence[ClassReplay]) -> dict[str, Any]:
    from dataclasses import asdict

    from ..targets.service_plan import summarise

    found = summarise(plan)
    return {
        "policy": plan.policy,
        "gpus_max": found.gpus_max,
        "gpus_max_by_type": dict(found.by_type),
        "energy_mwh": found.energy_j / 3.6e9,
        "cost_usd": found.usd,
        "accuracy": found.accuracy,
        "violations": found.violations,
        "solve_s": day.solve_s,
        "gap": found.gap,
        "classes": [asdict(kind) for kind in replayed],
        "unserved": [
            {
                "class": lost.name,
                "reason": lost.reason,
                "conflict": lost.conflict,
                "nearest": dict(lost.nearest),
            }
            for lost in plan.unserved
        ],
        "estimates": [asdict(found) for found in plan.estimates()],
    }


def _text(name: str, rows: Sequence[dict[str, Any]]) -> str:
    from . import figures
    from .tables import indent, table

    header = ["policy", "GPUs", "energy", "cost", "accuracy", "missed", "solved in", "gap"]
    lines = [
        [
            row["policy"],
            f"{row['gpus_max']:,}",
            f"{row['energy_mwh']:.2f} MWh",
            f"${row['cost_usd']:,.0f}",
            f"{row['accuracy']:.3f}",
            f"{row['violations']:.0%}",
            f"{row['solve_s']:.1f} s",
            f"{row['gap']:.2%}",
        ]
        for row in rows
    ]
    if "carbon_kg" in rows[0]:
        header.append("CO2e")
        lines = [
            [*line, figures.grams(row["carbon_kg"] * 1e3)]
            for line, row in zip(lines, rows, strict=True)
        ]
    parts = [name, indent(table(header, lines))]
    kinds = [
        [row["policy"], kind["name"], f"{kind['in_time']:.2%}", _wait(kind["wait_p95_s"])]
        for row in rows
        for kind in row["classes"]
    ]
    if kinds:
        replayed = table(["policy", "class", "as asked", "p95 wait"], kinds, left=2)
        parts += ["replayed second by second", indent(replayed)]
    parts += [_unserved(row["policy"], lost) for row in rows for lost in row["unserved"]]
    estimates = [[row["policy"], _estimates(row)] for row in rows]
    parts.append(indent(table(["policy", "engines' figures, and how far off"], estimates, left=2)))
    return "\n\n".join(parts)


def _unserved(policy: str, lost: Mapping[str, Any]) -> str:
    """Return which class is left out, what it asks too much of, and what would do."""
    lines = [f"{policy} does not serve {lost['class']}: {lost['reason']}"]
    if len(lost["conflict"]) > 1:
        quoted = " and ".join(f"`{part}`" for part in lost["conflict"])
        lines.append(f"  {quoted} cannot all be met")
    for what, value in lost["nearest"].items():
        unit = " s" if what.startswith("latency") else ""
        lines.append(f"  `{what}` would be feasible at {value:g}{unit}")
    return "\n".join(lines)


def _estimates(row: Mapping[str, Any]) -> str:
    """Return `4 measured ±10 %, 2 analytic ±30 %`."""
    from .figures import percent

    found = (
        f"{of['count']} {of['source']} ±{percent(of['error_band'])}" for of in row["estimates"]
    )
    return ", ".join(found) or "none"


def _wait(value: float) -> str:
    return f"{value:.0f} s" if value < float("inf") else "for ever"


def _lines(plans: Sequence[ServicePlan]) -> str:
    """Return the CSV of epochs: when, what is held, what that takes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["policy", "start_s", "duration_s", "gpus", "cost_usd", "energy_j", "instances"]
    )
    for plan in plans:
        for epoch in plan.epochs:
            held = [
                f"{n} {kind.name}"
                for kind, n in zip(plan.instances, epoch.instances, strict=True)
                if n
            ]
            figures = (f"{epoch.usd:.6g}", f"{epoch.energy_j:.6g}", "; ".join(held))
            gpus = sum(plan.gpus(epoch).values())
            writer.writerow([plan.policy, epoch.start_s, epoch.duration_s, gpus, *figures])
    return text.getvalue()
