"""Studies (`study.toml`): a day of a service, to be planned by several policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from ..ir.ops import Attr
from ..ir.workflow import TIERS
from .arrivals import Arrivals, load_arrivals
from .cluster import Cluster, load_cluster
from .formula import Formula, FormulaError, parse_formula
from .profiles import Profiles, load_profiles
from .toml_places import Path as KeyPath
from .toml_source import TomlSource, load_toml
from .workflow_profiles import Choice, MeasuredConfiguration, load_workflow_profiles

Policy = Literal["static", "autoscale", "separate", "osdi26", "joint"]
POLICIES: tuple[Policy, ...] = ("static", "autoscale", "separate", "osdi26", "joint")
Sizing = Literal["p50", "p90", "mean"]
_STATIC = ("gpu", "tp", "load_tokens_per_s")
_MEASURED = ("step", "calls", "width", "static")  # keys of workflows without a program


@dataclass(frozen=True, slots=True)
class StudyClass:
    """Requests with the same requirements; `share` is of their workflow's requests.

    `accuracy` and `latency_s` are limits, the names of tiers, or None: none is stated.
    """

    name: str
    share: float
    accuracy: float | str | None
    latency_s: float | str | None
    wait_s: float
    loc: Span


@dataclass(frozen=True, slots=True)
class StaticChoice:
    """What the policies without an optimiser run a workflow with."""

    choices: tuple[tuple[str, Choice], ...]
    gpu: str
    tp: int
    load_tokens_per_s: float
    loc: Span


@dataclass(frozen=True, slots=True)
class StudyWorkflow:
    """A workflow of a study: a program, or measured configurations; arrivals, classes.

    `file` is the program's. Without one, `step` is the one whose executor makes the tokens. They
    lie on a request's critical path as `calls` calls, one after the other, of `width` that are side
    by side and share the tokens evenly: formulas over the knobs.
    """

    name: str
    file: Path | None
    step: str
    configurations: tuple[MeasuredConfiguration, ...]
    arrivals: Arrivals
    calls: Formula
    width: Formula
    static: StaticChoice | None
    classes: tuple[StudyClass, ...]
    loc: Span


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """Where the files of a study are, for the compiler."""

    cluster: Path
    profiles: tuple[Path, ...]
    libraries: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A day of a service.

    `percentile` is of the tokens, and of the times of models, that latency is checked at;
    instances are sized by tokens at `sizing`. `startup_s` is how long an instance takes to start,
    `multiplexing` the factor of the policy `osdi26`.
    """

    name: str
    cluster: Cluster
    paths: StudyPaths
    profiles: Profiles
    workflows: tuple[StudyWorkflow, ...]
    objective: Literal["cost", "energy", "gpus"]
    policies: tuple[Policy, ...]
    epoch_s: float
    percentile: Literal["p50", "p90"]
    sizing: Sizing
    startup_s: float
    multiplexing: float
    forecast: Literal["known", "ewma"]


def load_study(path: Path) -> Study:
    """Read a study and the files that it names, which are relative to its folder.

    Raises InputError with the place of everything that is wrong in one of them.
    """
    source = load_toml(path, "study")
    findings = [*_repeated(source), *_shares(source)]
    if findings:
        raise InputError(findings)
    data, folder = source.data, path.parent
    paths = StudyPaths(
        folder / data["cluster"],
        tuple(folder / name for name in data.get("profiles", ())),
        tuple(folder / name for name in data.get("libraries", ())),
    )
    measured = load_workflow_profiles(paths.profiles)
    workflows = tuple(
        _workflow(source, i, row, measured.of(row["name"]), folder)
        for i, row in enumerate(data["workflow"])
    )
    programs = any("file" in row for row in data["workflow"])
    usual = ("separate", "joint") if programs else POLICIES
    policies = tuple(data.get("policies", usual))
    epoch_s = source.quantity(("epoch",), "s") if "epoch" in data else 3600.0
    findings = [
        *_without_static(source, workflows, policies),
        *_uneven(source, workflows, epoch_s),
    ]
    if findings:
        raise InputError(findings)
    return Study(
        name=data["name"],
        cluster=load_cluster(paths.cluster),
        paths=paths,
        profiles=load_profiles(paths.profiles),
        workflows=workflows,
        objective=data.get("objective", "cost"),
        policies=policies,
        epoch_s=epoch_s,
        percentile=data.get("percentile", "p50"),
        sizing=data.get("sizing", "p90"),
        startup_s=source.quantity(("startup",), "s") if "startup" in data else 0.0,
        multiplexing=float(data.get("multiplexing", 1.0)),
        forecast=data.get("forecast", "known"),
    )


def _repeated(source: TomlSource) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for i, row in enumerate(source.data["workflow"]):
        path: KeyPath = ("workflow", i)
        if row["name"] in seen:
            message = f"a workflow named `{row['name']}` is already in this file"
            yield source.finding("bad-study", message, (*path, "name"))
        seen.add(row["name"])
        classes: set[str] = set()
        for j, kind in enumerate(row["class"]):
            if kind["name"] in classes:
                message = f"`{row['name']}` already has a class named `{kind['name']}`"
                yield source.finding("bad-study", message, (*path, "class", j, "name"))
            classes.add(kind["name"])


def _shares(source: TomlSource) -> Iterator[Diagnostic]:
    for i, row in enumerate(source.data["workflow"]):
        total = sum(kind["share"] for kind in row["class"])
        if abs(total - 1.0) > 1e-6:
            message = f"the shares of the classes of `{row['name']}` add up to {total:g}, not to 1"
            yield source.finding("bad-study", message, ("workflow", i, "name"))


def _workflow(
    source: TomlSource,
    i: int,
    row: Mapping[str, Any],
    configurations: tuple[MeasuredConfiguration, ...],
    folder: Path,
) -> StudyWorkflow:
    path: KeyPath = ("workflow", i)
    arrivals = load_arrivals(folder / row["arrivals"], row["column"], row.get("gaps", "refuse"))
    classes = tuple(
        _class(source, (*path, "class", j), kind) for j, kind in enumerate(row["class"])
    )
    loc = source.span((*path, "name"))
    if "file" in row:
        own = [name for name in _MEASURED if name in row]
        if own:
            message = f"`{own[0]}` belongs to a workflow with measured configurations, not a file"
            raise InputError(source.finding("bad-study", message, (*path, own[0]), key=True))
        one = parse_formula("1")
        file = folder / row["file"]
        return StudyWorkflow(row["name"], file, "", (), arrivals, one, one, None, classes, loc)
    if "step" not in row:
        message = f"`{row['name']}` has neither `file` nor `step`"
        raise InputError(source.finding("bad-study", message, (*path, "name")))
    if not configurations:
        message = f"none of the profiles has a row of workflow `{row['name']}`"
        raise InputError(source.finding("bad-study", message, (*path, "name")))
    steps = [step for step, _ in configurations[0].choices]
    if row["step"] not in steps:
        message = f"the configurations of `{row['name']}` have no step `{row['step']}`"
        hint = did_you_mean(row["step"], steps) or f"there are {', '.join(steps)}"
        raise InputError(source.finding("bad-study", message, (*path, "step"), help=hint))
    return StudyWorkflow(
        name=row["name"],
        file=None,
        step=row["step"],
        configurations=configurations,
        arrivals=arrivals,
        calls=_formula(source, (*path, "calls"), row.get("calls", "1"), configurations),
        width=_formula(source, (*path, "width"), row.get("width", "1"), configurations),
        static=_static(source, (*path, "static"), row, configurations),
        classes=classes,
        loc=loc,
    )


def _class(source: TomlSource, path: KeyPath, row: Mapping[str, Any]) -> StudyClass:
    return StudyClass(
        name=row["name"],
        share=row["share"],
        accuracy=row.get("accuracy"),
        latency_s=_latency(source, (*path, "latency"), row),
        wait_s=source.quantity((*path, "wait"), "s") if "wait" in row else 0.0,
        loc=source.span((*path, "name")),
    )


def _latency(source: TomlSource, path: KeyPath, row: Mapping[str, Any]) -> float | str | None:
    said = row.get("latency")
    if said is None or said in TIERS:
        return None if said is None else str(said)
    if said.isidentifier():
        message = f"`{said}` is neither a time nor a tier"
        hint = did_you_mean(said, TIERS) or f"tiers are {', '.join(TIERS)}"
        raise InputError(source.finding("bad-study", message, path, help=hint))
    return source.quantity(path, "s")


def _formula(
    source: TomlSource,
    path: KeyPath,
    text: str,
    configurations: tuple[MeasuredConfiguration, ...],
) -> Formula:
    try:
        formula = parse_formula(text)
    except FormulaError as error:
        place = source.within(path, error.offset)
        raise InputError(Diagnostic("bad-study", str(error), place)) from None
    known = {name for row in configurations for name in knobs_of(row)}
    for name in sorted(formula.names() - known):
        message = f"no step of `{source.data['workflow'][path[1]]['name']}` has a knob `{name}`"
        hint = did_you_mean(name, known) or f"there are {', '.join(sorted(known)) or 'none'}"
        raise InputError(source.finding("bad-study", message, path, help=hint))
    return formula


def knobs_of(row: MeasuredConfiguration) -> dict[str, Attr]:
    """Return the settings of a configuration's knobs by their bare names, numbers as such."""
    found: dict[str, Attr] = {}
    for _, choice in row.choices:
        for name, cell in choice.knobs:
            try:
                found[name] = float(cell)
            except ValueError:
                found[name] = cell
    return found


def _static(
    source: TomlSource,
    path: KeyPath,
    row: Mapping[str, Any],
    configurations: tuple[MeasuredConfiguration, ...],
) -> StaticChoice | None:
    said = row.get("static")
    if said is None:
        return None
    wanted = {name: value for name, value in said.items() if name not in _STATIC}
    fitting = [c for c in configurations if _agrees(c, wanted)]
    if len(fitting) != 1:
        known = sorted({column for c in configurations for column, _ in _cells(c)})
        stray = [name for name in wanted if name not in known]
        message = f"{len(fitting) or 'no'} configurations of `{row['name']}` are as this says"
        hint = "say what `STEP.executor` and `STEP.KNOB` are, so that one is left"
        if stray:
            message = f"`{stray[0]}` is no column of the configurations of `{row['name']}`"
            hint = did_you_mean(stray[0], known) or f"there are {', '.join(known)}"
        raise InputError(source.finding("bad-study", message, path, key=True, help=hint))
    return StaticChoice(
        choices=fitting[0].choices,
        gpu=said["gpu"],
        tp=said["tp"],
        load_tokens_per_s=float(said["load_tokens_per_s"]),
        loc=source.span(path, key=True),
    )


def _cells(row: MeasuredConfiguration) -> Iterator[tuple[str, str]]:
    for step, choice in row.choices:
        yield f"{step}.executor", choice.executor or ""
        for name, value in choice.knobs:
            yield f"{step}.{name}", value


def _agrees(row: MeasuredConfiguration, wanted: Mapping[str, Attr]) -> bool:
    cells = dict(_cells(row))
    said = Choice.of(None, wanted.items()).knobs  # settings as cells write them
    return all(cells.get(name) == value for name, value in said)


def _without_static(
    source: TomlSource, workflows: tuple[StudyWorkflow, ...], policies: tuple[Policy, ...]
) -> Iterator[Diagnostic]:
    for i, workflow in enumerate(workflows):
        needs = [policy for policy in policies if policy in ("static", "autoscale")]
        if needs and workflow.static is None:
            message = f"policy `{needs[0]}` needs `[workflow.static]` of `{workflow.name}`"
            hint = "say which configuration and load it runs, or leave the policy out"
            if workflow.file is not None:
                hint = "a program has no stated configuration: leave the policy out"
            yield source.finding("bad-study", message, ("workflow", i, "name"), help=hint)
        if workflow.file is not None and "osdi26" in policies:
            message = f"policy `osdi26` chooses measured configurations; `{workflow.name}` has none"
            hint = "leave the policy out: `joint` chooses each step of a program"
            yield source.finding("bad-study", message, ("workflow", i, "file"), help=hint)


def _uneven(
    source: TomlSource, workflows: tuple[StudyWorkflow, ...], epoch_s: float
) -> Iterator[Diagnostic]:
    first = workflows[0]
    for i, workflow in enumerate(workflows):
        trace = workflow.arrivals
        path: KeyPath = ("workflow", i, "arrivals")
        if trace.period_s != first.arrivals.period_s:
            message = (
                f"its periods are of {trace.period_s:g} s, those of `{first.name}` of "
                f"{first.arrivals.period_s:g} s"
            )
            yield source.finding("bad-study", message, path)
        elif len(trace.requests) != len(first.arrivals.requests):
            message = (
                f"it has {len(trace.requests)} periods, `{first.name}` "
                f"{len(first.arrivals.requests)}"
            )
            yield source.finding("bad-study", message, path)
        elif epoch_s % trace.period_s:
            message = f"an epoch of {epoch_s:g} s is no whole number of {trace.period_s:g} s"
            yield source.finding("bad-study", message, ("epoch",))
