"""How configurations did, as rows of a profile, a table and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..runtime.evaluation.halving import interval, percentile
from ..targets.workflow_profiles import TOKENS, MeasuredConfiguration
from . import figures
from .display import safe
from .tables import table

if TYPE_CHECKING:
    from ..compiler.configured import Setting, Space
    from ..runtime.evaluation.search import Candidate


def row(space: Space, setting: Setting, candidate: Candidate, source: str) -> MeasuredConfiguration:
    """Return the row of a configuration that was measured."""
    return MeasuredConfiguration(
        space.workflow.name,
        space.named(setting),
        candidate.mean,
        candidate.n,
        _tokens(candidate),
        source,
    )


def _tokens(candidate: Candidate) -> tuple[float | None, ...]:
    """Return tokens of prompts and answers at p50 and p90; None where no model was asked."""
    counted = [outcome.tokens for outcome in candidate.outcomes if outcome.tokens is not None]
    if not counted:
        return (None,) * len(TOKENS)
    return tuple(
        percentile([tokens[part] for tokens in counted], percent)
        for part in (0, 1)
        for percent in (50, 90)
    )


def shown(candidates: Sequence[Candidate]) -> str:
    """Return the table of configurations that were measured."""
    tokens = any(outcome.tokens for c in candidates for outcome in c.outcomes)
    header = ["configuration", "accuracy", "95 % interval", "items", "failed"]
    rows = []
    for candidate in candidates:
        low, high = interval(candidate.mean, candidate.n)
        cells = [
            safe(candidate.label),
            figures.share(candidate.mean),
            f"{figures.share(low)} to {figures.share(high)}",
            str(candidate.n),
            str(_failed(candidate) or ""),
        ]
        prompts, _, answers, _ = _tokens(candidate)
        rows.append([*cells, *([_count(prompts), _count(answers)] if tokens else [])])
    return table([*header, *(["prompt tokens", "output tokens"] if tokens else [])], rows)


def _count(value: float | None) -> str:
    return "" if value is None else figures.count(value)


def _failed(candidate: Candidate) -> int:
    return sum(outcome.error is not None for outcome in candidate.outcomes)


def entry(candidate: Candidate, measured: MeasuredConfiguration) -> dict[str, Any]:
    """Return what `--json` says of a configuration."""
    return {
        "configuration": candidate.label,
        "steps": {
            step: None
            if choice.executor is None
            else {"executor": choice.executor, "knobs": dict(choice.knobs)}
            for step, choice in measured.choices
        },
        "accuracy": candidate.mean,
        "interval": interval(candidate.mean, candidate.n),
        "n": candidate.n,
        "failed": _failed(candidate),
        "tokens": dict(zip(TOKENS, measured.tokens, strict=True)),
    }
