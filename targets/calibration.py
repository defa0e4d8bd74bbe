"""Calibration of cascades: what thresholds are worth, by questions with known right answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostics import Diagnostic, InputError
from .csv_file import csv_rows, line_span
from .toml_source import read_text

ANSWERS = ("confidence", "cheap_right", "strong_right")
GROUPS = ("n_questions", "both_right", "only_weak_right", "only_strong_right", "both_wrong")
_YES = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Questions of which the cheap model was equally sure, and how many each model got right."""

    confidence: float
    questions: float
    cheap_right: float
    strong_right: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A threshold: the share of calls that go on, and the share of answers that are right.

    `factor` is that share over the strong model's alone; `error` its standard error, by the number
    of questions.
    """

    threshold: float
    escalates: float
    accuracy: float
    factor: float
    error: float


def load_outcomes(path: Path) -> tuple[Outcome, ...]:
    """Read a CSV of one answer a row (`ANSWERS`), or of one group of questions (`GROUPS`).

    Of a group nobody knows how sure the model was of each answer: the share of its questions that
    the cheap model gets right stands for all of them, which is what a calibrated confidence comes
    to on average. A confidence that tells questions of a group apart does better. Raises InputError
    with every finding.
    """
    (_, header), *rows = csv_rows(read_text(path), str(path), "bad-outcomes") or [(1, [])]
    names = [name.strip() for name in header]
    kinds: Mapping[tuple[str, ...], Callable[[Mapping[str, str]], Outcome | str]] = {
        ANSWERS: _answer,
        GROUPS: _group,
    }
    wanted = next((columns for columns in kinds if set(columns) <= set(names)), None)
    if wanted is None:
        help = f"of one answer a row: {', '.join(ANSWERS)}; of groups: {', '.join(GROUPS)}"
        raise InputError(_finding(path, 1, "the columns are not those of outcomes", help))
    found, findings = [], []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            message = f"the row has {len(cells)} cells, the header {len(names)}"
            findings.append(_finding(path, line, message))
            continue
        texts = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        outcome = kinds[wanted](texts)
        if isinstance(outcome, str):
            findings.append(_finding(path, line, outcome))
        else:
            found.append(outcome)
    if not findings and not sum(one.strong_right for one in found):
        findings.append(_finding(path, 1, "the strong model got no question right"))
    if findings:
        raise InputError(findings)
    return tuple(found)


def _answer(texts: Mapping[str, str]) -> Outcome | str:
    confidence = _number(texts["confidence"])
    if not 0.0 <= confidence <= 1.0:
        return f"`confidence` is `{texts['confidence']}`; it must be from 0 to 1"
    for name in ANSWERS[1:]:
        if texts[name].lower() not in _YES:
            return f"`{name}` is `{texts[name]}`; it must be 1 or 0"
    cheap, strong = (_YES[texts[name].lower()] for name in ANSWERS[1:])
    return Outcome(confidence, 1.0, cheap, strong)


def _group(texts: Mapping[str, str]) -> Outcome | str:
    numbers = {name: _number(texts[name]) for name in GROUPS}
    for name, value in numbers.items():
        if not 0.0 <= value < math.inf:
            return f"`{name}` is `{texts[name]}`; it must be a number of questions"
    questions, both, cheap, strong, neither = (numbers[name] for name in GROUPS)
    if questions <= 0 or both + cheap + strong + neither != questions:
        return "the four outcomes do not add up to `n_questions`"
    return Outcome((both + cheap) / questions, questions, both + cheap, both + strong)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _finding(path: Path, line: int, message: str, help: str | None = None) -> Diagnostic:
    return Diagnostic("bad-outcomes", message, line_span(str(path), line), help=help)


def calibrated(outcomes: Sequence[Outcome], thresholds: Sequence[float]) -> Iterator[Setting]:
    """Yield what each threshold comes to; answers at it or above it stay with the cheap model."""
    questions = sum(one.questions for one in outcomes)
    strong = sum(one.strong_right for one in outcomes) / questions
    for threshold in thresholds:
        stays = [one for one in outcomes if one.confidence >= threshold]
        kept = sum(one.questions for one in stays) / questions
        gained = sum(one.cheap_right - one.strong_right for one in stays) / questions
        accuracy = strong + gained
        yield Setting(
            threshold=threshold,
            escalates=1.0 - kept,
            accuracy=accuracy,
            factor=accuracy / strong,
            error=math.sqrt(max(accuracy * (1.0 - accuracy), 0.0) / questions) / strong,
        )


def cascade_toml(
    name: str, members: Sequence[str], settings: Sequence[Setting], source: str
) -> str:
    """Return the library entry of a cascade of these members with what its thresholds are worth."""
    first = settings[0].threshold
    escalates = ", ".join(f"[{s.threshold:g}, {s.escalates:.4g}]" for s in settings)
    factors = ", ".join(f"[{s.threshold:g}, {max(s.factor, 1e-6):.4g}]" for s in settings)
    knobs = ", ".join(f"{s.threshold:g}" for s in settings)
    described = f"{' then '.join(members)}, where an answer is less sure than the threshold"
    lines = [
        "[[executor]]",
        f"name = {json.dumps(name)}",
        'kind = "composition"',
        'composition = "cascade"',
        f"description = {json.dumps(described)}",
        f"members = {json.dumps(list(members))}",
        f"knobs = {{ threshold = [{knobs}] }}  # without a pin, {first:g}",
        f"escalates = [{escalates}]",
        "[executor.quality]",
        "value = 1.0",
        f"metric = {json.dumps(f'right answers, relative to {members[-1]} alone')}",
        f"source = {json.dumps(source)}",
        f"factors = {{ threshold = [{factors}] }}",
    ]
    return "\n".join(lines) + "\n"
