"""Objectives and requirements: metrics, percentiles, tiers and units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

from ..ir.diagnostics import Label, Span
from ..ir.workflow import MetricName, Requirement
from . import ast
from .findings import Findings
from .units import measured

_METRIC_UNITS: dict[str, tuple[str, ...]] = {
    "energy": ("J",),
    "cost": ("USD",),
    "latency": ("s",),
    "gpus": ("",),
    "accuracy": ("",),
}
_TIERED = ("accuracy", "latency")
_UPPER, _LOWER = ("<", "<="), (">", ">=")


def goals(clauses: Iterable[ast.Clause], findings: Findings) -> tuple[MetricName, ...]:
    """Return the stated objectives in source order, the first the most important."""
    found: dict[str, Span] = {}
    for clause in clauses:
        if not isinstance(clause, ast.Minimize):
            continue
        for metric in clause.metrics:
            if metric.text == "accuracy" and not clause.maximize:
                findings.error(
                    "objective-direction",
                    "`minimize accuracy` asks for the worst",
                    metric.span,
                    help="write `maximize accuracy`",
                )
                continue
            if metric.text in found:
                findings.error(
                    "duplicate-objective",
                    f"`{metric.text}` is an objective already",
                    metric.span,
                    Label(found[metric.text], "the first time"),
                    help="objectives are lexicographic: the later one has no effect",
                )
                continue
            found[metric.text] = metric.span
    return tuple(cast(MetricName, name) for name in found)


def requirements(
    clauses: Iterable[ast.Clause], lines: Sequence[str], findings: Findings
) -> tuple[Requirement, ...]:
    """Return the requirements in base units; `lines` are the file's, for their wording."""
    found: list[Requirement] = []
    for clause in clauses:
        if isinstance(clause, ast.Require):
            requirement = requirement_of(clause, _wording(clause.span, lines), findings)
            if requirement is not None:
                _against_earlier(requirement, found, findings)
                found.append(requirement)
    return tuple(found)


def _wording(span: Span, lines: Sequence[str]) -> str:
    """Return what stands at a span without the word `require`, on one line."""
    part = list(lines[span.line - 1 : span.end_line])
    part[-1] = part[-1][: span.end_column - 1]
    part[0] = part[0][span.column - 1 :]
    return " ".join(" ".join(part).split()).removeprefix("require ")


def requirement_of(node: ast.Require, text: str, findings: Findings) -> Requirement | None:
    """Check one requirement; None after an error."""
    metric, percentile = node.metric.text, node.percentile
    name = cast(MetricName, metric)
    if percentile is not None and metric != "latency":
        findings.error(
            "percentile-metric",
            f"percentiles are of `latency`, `{metric}` has none",
            percentile.span,
            help=f"drop the `{percentile.text}`",
        )
        return None
    quantile = percentile.text if percentile is not None else None
    if isinstance(node.value, ast.Name):
        if metric in _TIERED:
            return Requirement(name, node.op, node.value.text, quantile, text, node.span)
        findings.error(
            "tier-metric",
            f"tiers are of `accuracy` and `latency`, `{metric}` has none",
            node.value.span,
            help="give a value",
        )
        return None
    value = measured(node.value, _METRIC_UNITS[name], f"`{name}`", findings)
    if math.isnan(value) or not _in_range(name, node.value, value, findings):
        return None
    if _beyond(name, node.op, value):
        what, end = ("least", "0") if node.op in _UPPER else ("most", "1")
        message = f"`{text}` can never be met: {name} is {end} at {what}"
        findings.error("out-of-range", message, node.span)
        return None
    return Requirement(name, node.op, value, quantile, text, node.span)


def _beyond(metric: MetricName, op: str, value: float) -> bool:
    """Tell whether a comparison asks for less than nothing, or for more than all of accuracy."""
    below = value < 0 or (value == 0 and op == "<")
    return (op in _UPPER and below) or (metric == "accuracy" and value == 1 and op == ">")


def _in_range(metric: str, node: ast.Quantity, value: float, findings: Findings) -> bool:
    if metric == "accuracy":
        return fraction(node, value, "`accuracy`", findings)
    if metric == "gpus" and ("%" in node.unit or not value.is_integer()):
        findings.error("out-of-range", "`gpus` counts whole GPUs", node.span)
        return False
    return True


def fraction(node: ast.Quantity, value: float, what: str, findings: Findings) -> bool:
    """Check that a value lies between 0 and 1."""
    if 0 <= value <= 1:
        return True
    percent = f"`{node.value:g} %`" if node.value <= 100 and not node.unit else None
    findings.error(
        "out-of-range",
        f"{what} lies between 0 and 1",
        node.span,
        help=f"did you mean {percent}?" if percent else None,
    )
    return False


def _against_earlier(new: Requirement, earlier: list[Requirement], findings: Findings) -> None:
    """Report a requirement that repeats or contradicts an earlier one of the same figure."""
    assert new.loc is not None
    for old in earlier:
        if _figure(old) != _figure(new) or old.loc is None:
            continue
        if _sense(old.op) == _sense(new.op):
            findings.warn(
                "duplicate-requirement",
                f"`{new.metric}` has such a requirement already",
                new.loc,
                Label(old.loc, "the first one"),
                help="both hold: keep the stricter of the two",
            )
            return
        if _contradict(old, new):
            findings.error(
                "conflicting-requirements",
                f"`{new.text}` and `{old.text}` cannot both hold",
                new.loc,
                Label(old.loc, "the other one"),
            )
            return


def _figure(requirement: Requirement) -> tuple[str, str]:
    # bare `latency` is p50
    return requirement.metric, requirement.percentile or "p50"


def _sense(op: str) -> str:
    return "upper" if op in _UPPER else "lower" if op in _LOWER else op


def _contradict(a: Requirement, b: Requirement) -> bool:
    if isinstance(a.value, str) or isinstance(b.value, str) or "!=" in (a.op, b.op):
        return False
    uppers = [r.value for r in (a, b) if r.op in _UPPER or r.op == "=="]
    lowers = [r.value for r in (a, b) if r.op in _LOWER or r.op == "=="]
    strict = any(r.op in ("<", ">") for r in (a, b))
    if not uppers or not lowers:
        return False
    upper, lower = min(map(float, uppers)), max(map(float, lowers))
    return upper < lower or (strict and upper == lower)
