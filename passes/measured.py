"""Measured accuracy of whole configurations: which of them can be chosen here, and what they are.

Where a workflow has been measured, only configurations that were measured are chosen: products of
declared qualities flatter some combination or other, and an optimiser would find it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..ir.diagnostics import CompileError, Diagnostic, did_you_mean
from ..ir.workflow import Workflow
from ..targets.library import Executor, Library
from ..targets.workflow_profiles import Choice, MeasuredConfiguration, WorkflowProfiles
from .configurations import Configuration
from .modes import Way
from .pins import LANGUAGE_RUNNERS, MODEL_KNOBS
from .work import StepWork

Labels = tuple[str, ...]  # a configuration's label for each step, in the steps' order


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a workflow's configurations from measurements.

    `rows` are those that can be chosen here. `reference` is the reference plan's accuracy: its own
    where it was measured (`exact`), else that of the measured configuration which should be the
    most accurate by the qualities of its executors, divided by what they make of it.
    """

    rows: Mapping[Labels, MeasuredConfiguration]
    reference: float
    exact: bool

    def only(self, found: Sequence[Sequence[Way]]) -> list[list[Way]]:
        """Return, for each step, the ways whose configuration is in some row."""
        kept = [{labels[step] for labels in self.rows} for step in range(len(found))]
        return [
            [way for way in listed if way.configuration.label in labels]
            for listed, labels in zip(found, kept, strict=True)
        ]

    @property
    def accuracies(self) -> dict[Labels, float]:
        """The accuracy of every row."""
        return {labels: row.accuracy for labels, row in self.rows.items()}


def choice_of(configuration: Configuration) -> Choice:
    """Return a configuration in the form in which profiles have it."""
    executor = configuration.executor
    return Choice.of(None if executor is None else executor.name, configuration.knobs)


def measure(
    workflow: Workflow,
    profiles: WorkflowProfiles,
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    *,
    reference: bool = False,
) -> Measured | None:
    """Return what profiles say of a workflow whose steps can be carried out in these ways.

    None where they say nothing of it. `reference` asks for the reference plan's accuracy alone.
    Raises CompileError where a step's choice is not in the profile, or nothing measured can be
    chosen here.
    """
    listed = profiles.of(workflow.name)
    if not listed:
        return None
    names = [step.op.out().name for step in steps]
    labels = [
        {choice_of(way.configuration): way.configuration.label for way in ways} for ways in found
    ]
    if not reference:
        _require_columns(workflow, listed[0], names, labels)
    best = tuple(_best(ways) for ways in found)
    rows: dict[Labels, MeasuredConfiguration] = {}
    for row in listed:
        matched = _labels(row, names, labels, best)
        if matched is not None:
            rows.setdefault(matched, row)
    if not rows and not reference:
        message = f"none of the measured configurations of `{workflow.name}` can run here"
        hint = f"measure some that can, or leave out the profile ({listed[0].source})"
        raise CompileError([Diagnostic("nothing-measured", message, workflow.loc, help=hint)])
    return _calibrated(rows, found, best)


def _require_columns(
    workflow: Workflow,
    row: MeasuredConfiguration,
    names: Sequence[str],
    labels: Sequence[Mapping[Choice, str]],
) -> None:
    known = dict(row.choices)
    findings = [
        Diagnostic(
            "incomplete-profile",
            f"the profile of `{workflow.name}` does not say how step `{name}` was done, and there"
            f" are {len(choices)} ways",
            row.places.get("workflow"),
            help=f"add the column `{name}.executor`, or measure again with `mkb evaluate`",
        )
        for name, choices in zip(names, labels, strict=True)
        if name not in known and len(choices) > 1
    ]
    if findings:
        raise CompileError(findings)


def _labels(
    row: MeasuredConfiguration,
    names: Sequence[str],
    labels: Sequence[Mapping[Choice, str]],
    best: Labels,
) -> Labels | None:
    """Return a row's label for every step; None where one of them cannot be chosen."""
    known = dict(row.choices)
    matched = []
    for name, choices, other in zip(names, labels, best, strict=True):
        # what the profile does not speak of is done in the one way there is, or the reference's
        label = choices.get(known[name]) if name in known else other
        if label is None:
            return None
        matched.append(label)
    return tuple(matched)


def _calibrated(
    rows: Mapping[Labels, MeasuredConfiguration], found: Sequence[Sequence[Way]], best: Labels
) -> Measured:
    if best in rows:
        return Measured(rows, rows[best].accuracy, True)
    qualities = [{way.configuration.label: way.quality for way in listed} for listed in found]

    def composed(labels: Labels) -> float:
        return math.prod(of[label] for of, label in zip(qualities, labels, strict=True))

    top = max(rows, key=composed, default=None)
    if top is None:
        return Measured(rows, 1.0, False)
    return Measured(rows, min(1.0, rows[top].accuracy / composed(top)), False)


def _best(listed: Sequence[Way]) -> str:
    """Return the label of what the reference plan does."""
    able = [way.configuration for way in listed if way.slot is not None]
    order = sorted(able, key=lambda c: (-c.quality, c.label))
    return order[0].label if order else "left out"


def faults(
    profiles: WorkflowProfiles, workflow: Workflow, library: Library
) -> Iterator[Diagnostic]:
    """Yield what rows say that cannot be: steps, executors and knobs that there are not."""
    steps = [op.out().name for op in workflow.calls()]
    told: set[str] = set()
    for row in profiles.of(workflow.name):
        for step, choice in row.choices:
            if step in steps:
                yield from _bad_choice(row, step, choice, library)
            elif step not in told:
                told.add(step)
                message = f"workflow `{workflow.name}` has no step `{step}`"
                hint = did_you_mean(step, steps) or f"its steps are {', '.join(steps)}"
                yield _finding(row, f"{step}.executor", message, hint)


def _bad_choice(
    row: MeasuredConfiguration, step: str, choice: Choice, library: Library
) -> Iterator[Diagnostic]:
    if choice.executor is None:
        return
    executor = library.get(choice.executor)
    if executor is None:
        message = f"no executor named `{choice.executor}`"
        known = [e.name for e in library.executors]
        hint = did_you_mean(choice.executor, known) or "add its library with `--library`"
        yield _finding(row, f"{step}.executor", message, hint)
        return
    for name, value in choice.knobs:
        why = _bad_knob(executor, name, value)
        if why is not None:
            knobs = _knobs(executor)
            near = None if name in knobs else did_you_mean(name, knobs)
            yield _finding(row, f"{step}.{name}", f"`{executor.name}` has no {why}", near)


def _bad_knob(executor: Executor, name: str, value: str) -> str | None:
    if name not in _knobs(executor):
        return f"knob `{name}`"
    choices = dict(executor.knobs).get(name)
    settings = {dict(Choice.of("", [(name, choice)]).knobs)[name] for choice in choices or ()}
    # those of every language model are set by pins, to anything
    return None if choices is None or value in settings else f"setting `{name} = {value}`"


def _knobs(executor: Executor) -> list[str]:
    own = [name for name, _ in executor.knobs]
    return [*own, *MODEL_KNOBS] if executor.runner in LANGUAGE_RUNNERS else own


def _finding(row: MeasuredConfiguration, column: str, message: str, help: str | None) -> Diagnostic:
    return Diagnostic("bad-profile", message, row.places.get(column), help=help)
