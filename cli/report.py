"""What a run took, beside what was predicted, and its values in readable form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import figures
from .display import safe
from .tables import table


def totals(document: Mapping[str, Any]) -> str:
    """Return the totals of a run record, measured beside predicted, as a table."""
    measured, predicted = document["totals"]["measured"], document["totals"]["predicted"]
    watched_j = measured["cpu_energy_j"]
    modelled_j = sum(step["energy_j"] for step in document["steps"])
    rows = [
        [
            "start-up",
            figures.seconds(measured["startup_s"]),
            figures.seconds(predicted["startup_s"]),
        ],
        [
            "latency",
            figures.seconds(measured["latency_s"]),
            figures.seconds(predicted["latency_s"]["p50"]),
        ],
        ["calls", figures.count(measured["calls"]), figures.count(predicted["calls"])],
        [
            "energy, CPU measured" if watched_j is not None else "energy, modelled",
            figures.joules(modelled_j if watched_j is None else watched_j),
            figures.joules(predicted["energy_j"]),
        ],
    ]
    usages = [step["usage"] for step in document["steps"] if step["usage"] is not None]
    if charged := sum(usage["usd"] for usage in usages):
        rows.append(["charged", figures.dollars(charged), figures.dollars(predicted["cost_usd"])])
    if usages:
        parts = [sum(u[part] for u in usages) for part in ("prompt_tokens", "output_tokens")]
        rows.append(["tokens, in and out", " + ".join(map(figures.count, parts)), ""])
    if "carbon_g" in predicted:
        grams = [figures.grams(one["carbon_g"]) for one in (measured, predicted)]
        rows.append(["carbon, CO2e", *grams])
    return table(("", "this run", "predicted"), rows)


def changed(document: Mapping[str, Any]) -> str:
    """Return which executors a run was taken up with that had changed, if any."""
    found = document.get("resumed", {}).get("changed_executors", [])
    names = ", ".join(f"`{name}`" for name in found)
    return safe(f"gone on with, though changed since the plan was made: {names}") if names else ""


def steps(document: Mapping[str, Any]) -> str:
    """Return the steps of a run record as a table: calls, and a call's time beside predicted."""
    rows = [_step(step) for step in document["steps"]]
    header = ["step", "executor", "calls", "items", "a call", "predicted", "repeated", "failed"]
    for known in ("restored", "cached"):  # calls that were not made: most runs have none
        if any(step.get(known) for step in document["steps"]):
            header.append(known)
            for row, step in zip(rows, document["steps"], strict=True):
                row.append(str(step.get(known) or ""))
    told = [_instead(step) for step in document["steps"] if step.get("substituted")]
    return "\n".join([table(header, rows, left=2), *told])


def _instead(step: Mapping[str, Any]) -> str:
    """Return how many calls of a step its substitute did, and how good that is."""
    calls, other = figures.several(step["substituted"], "call"), step["substitute"]
    by = f"{calls} of `{step['step']}` by its substitute `{other['executor']}`"
    return safe(f"{by}, quality {figures.share(other['quality'])}")


def _step(step: Mapping[str, Any]) -> list[str]:
    name, executor = step["step"], step["executor"]
    if executor is None:
        return [safe(name), "left out", *[""] * 6]
    calls, attempts = step["calls"], step["attempts"]
    known = step.get("restored", 0) + step.get("cached", 0)
    each = figures.seconds(step["busy_s"] / attempts) if attempts else ""
    return [
        safe(name),
        safe(executor),
        str(calls),
        str(step["items"] or ""),
        each,
        figures.seconds(step["predicted"]["call_s"]["p50"]),
        str(attempts - (calls - known) or ""),
        str(step["failed"] or ""),
    ]


def in_file(encoded: Mapping[str, Any]) -> str:
    """Return where a list is that stands in a file, and how many items it has."""
    return f"{figures.several(encoded['count'], 'item')} in `{safe(encoded['lines'])}`"


def readable(encoded: Any) -> str:
    """Return an encoded value as text: Text verbatim, anything else as JSON."""
    if isinstance(encoded, str):
        return safe(encoded.replace("\t", "    "))
    return safe(json.dumps(encoded, indent=2, ensure_ascii=False))
