"""Plans of services as people read them: what each class runs, and what else it could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from . import figures
from .display import safe
from .tables import indent, table

if TYPE_CHECKING:
    from ..targets.service_plan import (
        DaySummary,
        Explained,
        FleetEpoch,
        PlannedRoute,
        ServedClass,
        ServicePlan,
    )

_SHOWN: Mapping[str, figures.Shown] = {
    "cost": figures.dollars,
    "energy": figures.joules,
    "gpus": lambda value: figures.several(value, "GPU"),
}


def explanation(plan: ServicePlan, step: str | None = None) -> str:
    """Return why each class is served as it is; InputError where no class has the step."""
    _known(plan, step)
    title = f"`{plan.policy}` plan of `{plan.study}`, least {plan.objective}"
    parts = [click.style(safe(title), bold=True)]
    if plan.explained:
        epoch = plan.epochs[plan.explained[0].epoch]
        when = f"the {figures.seconds(epoch.duration_s)} from {figures.seconds(epoch.start_s)} on"
        parts[0] += f"\nroutes, and the prices of others, are of {when}"
    for k, kind in enumerate(plan.classes):
        explained = next((each for each in plan.explained if each.kind == k), None)
        told = _epoch(plan, k, explained)
        routes = [] if told is None else [r for r in told.routes if r.kind == k]
        if any(step in (None, each.step) for route in routes for each in route.steps):
            parts.append(_class(plan, kind, routes, explained, step))
    if step is None and plan.epochs:
        parts += [
            indent(held(plan)),
            *(_left_out(lost.name, lost.reason) for lost in plan.unserved),
        ]
        parts.append(estimates(plan))
    return "\n\n".join(parts)


def estimates(plan: ServicePlan) -> str:
    """Return where the figures come from: `estimates: measured 4 ±10 %, analytic 2 ±30 %`."""
    found = [f"{of.source} {of.count} ±{figures.percent(of.error_band)}" for of in plan.estimates()]
    return f"estimates: {', '.join(found) or 'none'}"


def document(plan: ServicePlan, step: str | None) -> dict[str, Any]:
    """Return what `explanation` says as data."""
    _known(plan, step)
    classes = []
    for k, kind in enumerate(plan.classes):
        explained = next((each for each in plan.explained if each.kind == k), None)
        epoch = _epoch(plan, k, explained)
        routes = [] if epoch is None else [asdict(r) for r in epoch.routes if r.kind == k]
        steps = () if explained is None else explained.steps
        classes.append(
            {
                "class": kind.name,
                "routes": routes,
                "steps": [asdict(each) for each in steps if step in (None, each.step)],
                "limits": [] if explained is None else [asdict(x) for x in explained.limits],
            }
        )
    return {
        "policy": plan.policy,
        "objective": plan.objective,
        "classes": classes,
        "unserved": [asdict(lost) for lost in plan.unserved],
        "estimates": [asdict(found) for found in plan.estimates()],
    }


def service_comparison(one: ServicePlan, other: ServicePlan, names: tuple[str, str]) -> str:
    """Return two days beside each other: what they take, and what each class runs on."""
    heads = [safe(name) for name in names]
    parts = [table(("a day", *heads, "change"), _figures(one, other))]
    rows = []
    for name in dict.fromkeys(kind.name for plan in (one, other) for kind in plan.classes):
        first, second = _usual(one, name), _usual(other, name)
        rows.append([safe(name), first, "same" if second == first else second])
    parts.append(table(("class", *heads), rows, left=3))
    return "\n\n".join(parts)


def compared(one: ServicePlan, other: ServicePlan) -> dict[str, Any]:
    """Return what `service_comparison` says as data."""
    from ..targets.service_plan import summarise

    names = dict.fromkeys(kind.name for plan in (one, other) for kind in plan.classes)
    return {
        "days": {"one": asdict(summarise(one)), "other": asdict(summarise(other))},
        "classes": [
            {"class": name, "one": _usual(one, name), "other": _usual(other, name)}
            for name in names
        ],
    }


def _known(plan: ServicePlan, step: str | None) -> None:
    names = {s.step for e in plan.epochs for r in e.routes for s in r.steps}
    if step is not None and step not in names:
        hint = did_you_mean(step, names) or f"its steps are {', '.join(sorted(names))}"
        raise InputError(Diagnostic("unknown-step", f"no class has a step `{step}`", help=hint))


def _epoch(plan: ServicePlan, k: int, explained: Explained | None) -> FleetEpoch | None:
    """Return the epoch that tells of a class: the one explained, or that with most requests."""
    if explained is not None:
        return plan.epochs[explained.epoch]
    kind = plan.classes[k]

    def requests(epoch: FleetEpoch) -> float:
        first = round(epoch.start_s / plan.period_s)
        return sum(kind.requests[first : first + round(epoch.duration_s / plan.period_s)])

    served = [epoch for epoch in plan.epochs if any(r.kind == k for r in epoch.routes)]
    return max(served, key=requests, default=None)


def _class(
    plan: ServicePlan,
    kind: ServedClass,
    routes: Sequence[PlannedRoute],
    explained: Explained | None,
    step: str | None,
) -> str:
    asks = [] if kind.accuracy is None else [f"accuracy >= {kind.accuracy:.4g}"]
    asks += [] if kind.latency_s is None else [f"latency <= {kind.latency_s:.4g} s"]
    asks += [f"may wait {figures.seconds(kind.wait_s)}"] if kind.wait_s else []
    lines = [click.style(safe(kind.name), bold=True) + (f": {', '.join(asks)}" if asks else "")]
    lines.append(indent(table(_HEAD, _rows(plan, routes, explained, step), left=4)))
    if explained is not None and explained.limits and step is None:
        spared = _SHOWN[plan.objective]
        held = (f"{x.what} (without it {figures.MINUS}{spared(x.price)})" for x in explained.limits)
        lines.append(f"  held back by {safe(', '.join(held))}")
    return "\n".join(lines)


_HEAD = ("step", "runs", "on", "next best", "price", "load", "share")


def _rows(
    plan: ServicePlan,
    routes: Sequence[PlannedRoute],
    explained: Explained | None,
    step: str | None,
) -> list[list[str]]:
    """Return a row for each step, configuration and instances, the largest share first."""
    shares: dict[tuple[str, str, int | None], float] = {}
    loads: dict[tuple[str, str, int | None], set[float]] = {}
    for route in routes:
        for each in route.steps:
            key = (each.step, each.configuration, each.instance)
            shares[key] = shares.get(key, 0.0) + route.share
            loads.setdefault(key, set()).add(each.load)
    others = {} if explained is None else {each.step: each for each in explained.steps}
    rows = []
    for name in dict.fromkeys(key[0] for key in shares):
        mine = sorted((key for key in shares if key[0] == name), key=lambda key: -shares[key])
        for number, key in enumerate(mine if step in (None, name) else ()):
            other = others.get(name) if number == 0 else None
            said = "" if other is None else other.other or "nothing else will do"
            price = "" if other is None or other.price is None else _price(plan, other.price)
            where = "" if key[2] is None else plan.instances[key[2]].name
            load = ", ".join(f"{x:g}" for x in sorted(loads[key]) if x)
            share = figures.percent(shares[key])
            rows.append([safe(name), safe(key[1]), safe(where), safe(said), price, load, share])
    return rows


def _price(plan: ServicePlan, value: float) -> str:
    return f"+{_SHOWN[plan.objective](value)}" if value > 0 else "same"


def held(plan: ServicePlan) -> str:
    """Return a table of the most instances of each kind that are held at once."""
    most = [max(counts) for counts in zip(*(e.instances for e in plan.epochs), strict=True)]
    rows = [
        [safe(kind.name), str(n), str(n * kind.gpus)]
        for kind, n in zip(plan.instances, most, strict=True)
        if n
    ]
    return table(("held at most", "instances", "GPUs"), rows)


def _left_out(name: str, reason: str) -> str:
    return f"{safe(name)} is not served: {safe(reason)}"


def _figures(one: ServicePlan, other: ServicePlan) -> list[list[str]]:
    from ..targets.service_plan import summarise

    days = summarise(one), summarise(other)

    def row(name: str, shown: figures.Shown, of: str) -> list[str]:
        first, second = (float(getattr(day, of)) for day in days)
        return [name, shown(first), shown(second), figures.change(second, first)]

    return [
        row("GPUs", figures.count, "gpus_max"),
        row("energy", figures.joules, "energy_j"),
        row("cost", figures.dollars, "usd"),
        row("accuracy", figures.share, "accuracy"),
        ["missed", *(figures.percent(day.violations) for day in days), ""],
        ["gap", *(_gap(day) for day in days), ""],
    ]


def _gap(day: DaySummary) -> str:
    return figures.percent(day.gap)


def _usual(plan: ServicePlan, name: str) -> str:
    """Return the configuration that most requests of a class have over the day, and its share."""
    shares: dict[str, float] = {}
    for k, kind in enumerate(plan.classes):
        if kind.name != name:
            continue
        for epoch in plan.epochs:
            first = round(epoch.start_s / plan.period_s)
            come = sum(kind.requests[first : first + round(epoch.duration_s / plan.period_s)])
            for route in (route for route in epoch.routes if route.kind == k):
                steps = (each.configuration for each in route.steps)
                told = ", ".join(steps) or route.configuration
                shares[told] = shares.get(told, 0.0) + come * route.share
    total = sum(shares.values())
    if not total:
        return "not served"
    told = max(shares, key=lambda each: shares[each])
    return f"{told} ({figures.percent(shares[told] / total)})"
