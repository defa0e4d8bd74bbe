"""Every reader of files that are not to be trusted, as a function of bytes.

A reader may return, or raise the error that a user is meant to see (`Reader.refusals`). Whatever
else it raises, and an error that cannot be shown on a terminal, is a fault of this program.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from murakkab.cli.display import safe
from murakkab.cli.failures import UnusableInputs
from murakkab.cli.inputs import inputs
from murakkab.cli.main import cli
from murakkab.cli.output import Output, read_input
from murakkab.cli.render import render
from murakkab.compiler.formatter import format_source
from murakkab.compiler.frontend import check_text
from murakkab.compiler.source import decode_source
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.types import JSON, TEXT, Base, ListOf, Record, Type, enum, option
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Workflow
from murakkab.runtime.evaluation.dataset import load_dataset
from murakkab.runtime.evaluation.journal import open_journal
from murakkab.runtime.profiling.lengths import read_trace
from murakkab.runtime.serving.events import Gathered, StreamError
from murakkab.runtime.serving.structured import read_answer
from murakkab.runtime.values import ValueProblem, digest
from murakkab.targets.arrivals import load_arrivals
from murakkab.targets.calibration import calibrated, cascade_toml, load_outcomes
from murakkab.targets.cluster import load_cluster, to_toml
from murakkab.targets.library import load_library
from murakkab.targets.lock_file import lock_from_json
from murakkab.targets.plan import plan_from_json
from murakkab.targets.profiles import load_profiles
from murakkab.targets.safetensors_file import read_header
from murakkab.targets.service_plan import ServicePlan, summarise
from murakkab.targets.study import load_study
from murakkab.targets.workflow_profiles import load_configurations, load_workflow_profiles

from . import seeds
from .mutation import MAX_BYTES, Form

Outcome = Literal["accepted", "refused"]


class Refused(Exception):
    """A command has said what is wrong, and ended with a code that says so."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader: `read` takes an input and a folder of its own, `seeds` returns good inputs."""

    name: str
    form: Form
    read: Callable[[bytes, Path], object]
    seeds: Callable[[], Sequence[bytes]]
    refusals: tuple[type[Exception], ...] = (CompileError, InputError, Refused)


def outcome(reader: Reader, data: bytes, folder: Path) -> Outcome:
    """Give a reader an input; raises what is not one of its refusals."""
    try:
        reader.read(data, folder)
    except reader.refusals as error:
        found = getattr(error, "diagnostics", (Diagnostic("refused", str(error)),))
        _shown(found, data)
        return "refused"
    return "accepted"


def _shown(found: Sequence[Diagnostic], data: bytes) -> None:
    """Show diagnostics as `mkb` does: for people, and as JSON."""
    assert found, "an error without a finding"
    lines = data.decode("utf-8-sig", "replace").split("\n")
    for one in found[:5]:
        text = render(one, lambda file: lines)
        assert safe(text.replace("\x1b", "")) == text.replace("\x1b", ""), "an unsafe character"
        json.dumps(one.as_dict())


def _placed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _command(*arguments: str | Path) -> None:
    """Run `mkb` in this process; raises what ends it, and Refused where it exits with a code."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        names = [str(argument) for argument in arguments]
        code = super(type(cli), cli).main(names, "mkb", standalone_mode=False, obj=Output.of(names))
    if code:
        raise Refused(printed.getvalue())


# ---- programs


def _program(data: bytes, folder: Path) -> None:
    check_text(decode_source(data, "a.mkb"), "a.mkb", folder)


def _layout(data: bytes, folder: Path) -> None:
    once = format_source(decode_source(data, "a.mkb"), "a.mkb")
    if len(once) <= MAX_BYTES // 4:  # or the time of two readings would count as one's
        assert format_source(once, "a.mkb") == once, "formatting again changes something"


def _ir(data: bytes, folder: Path) -> None:
    path = _placed(folder, "a.mkir", data)
    module = read_module(read_input(str(path), Output()), str(path))
    verify(module)
    assert read_module(print_module(module)) == module, "what is printed is read as another"


# ---- JSON documents


def _text(data: bytes, folder: Path, name: str) -> str:
    return read_input(str(_placed(folder, name, data)), Output())


def _plan(data: bytes, folder: Path) -> None:
    plan = plan_from_json(_text(data, folder, "plan.json"))
    assert plan_from_json(plan.to_json()) == plan, "what is written is read as another"
    _command("inspect", folder / "plan.json")
    _command("explain", folder / "plan.json")


def _service_plan(data: bytes, folder: Path) -> None:
    plan = ServicePlan.from_json(_text(data, folder, "plan.json"))
    summarise(plan)
    _command("explain", folder / "plan.json")


def _lock(data: bytes, folder: Path) -> None:
    lock_from_json(data, folder / "a.lock").to_json()


def _record(data: bytes, folder: Path) -> None:
    _placed(folder, "run.json", data)
    kept = folder / "run.json.values"
    kept.mkdir(exist_ok=True)
    (kept / "calls.jsonl").write_bytes(seeds.calls()[0])
    _recorded(folder)


def _calls(data: bytes, folder: Path) -> None:
    _placed(folder, "run.json", seeds.records()[0])
    kept = folder / "run.json.values"
    kept.mkdir(exist_ok=True)
    (kept / "calls.jsonl").write_bytes(data)
    _recorded(folder)


def _recorded(folder: Path) -> None:
    path = folder / "run.json"
    _command("show", path)
    for step in json.loads(path.read_bytes())["steps"][:2]:
        _command("show", path, "--", step["step"])
    _command("profile", "import", path)


def _progress(data: bytes, folder: Path) -> None:
    open_journal(_placed(folder, "progress.jsonl", data), "ask", {"dataset": "d"})


def _model(data: bytes, folder: Path) -> None:
    path = _placed(folder, "config.json", data)
    _command("models", "add", path, "--name", "it")


# ---- values


@cache
def _workflow() -> Workflow:
    return check_text(seeds.MANY_KINDS).module.sole()


def _inputs(data: bytes, folder: Path) -> None:
    path = _placed(folder, "inputs.json", data)
    digest(inputs(_workflow(), (), str(path), Output()))


def _dataset(data: bytes, folder: Path) -> None:
    load_dataset(_placed(folder, "data.jsonl", data), _workflow())


_ANSWERS: tuple[Type, ...] = (
    *(TEXT, JSON, Base("Int"), Base("Float"), Base("Embedding"), ListOf(TEXT), enum(("yes", "no"))),
    option(Record((("a", Base("Float")), ("b", option(ListOf(JSON)))))),
)


def _answer(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "surrogateescape" if len(data) % 2 else "replace")
    problems = []
    for kind in _ANSWERS:
        try:
            digest(read_answer(kind, text))
        except ValueProblem as error:
            problems.append(error)
    if len(problems) == len(_ANSWERS):
        raise problems[-1]


def _events(data: bytes, folder: Path) -> None:
    gathered = Gathered()
    for line in data.decode("utf-8", "replace").split("\n"):
        gathered.take(line)
    json.dumps(gathered.document())


# ---- TOML


def _cluster(data: bytes, folder: Path) -> None:
    cluster = load_cluster(_placed(folder, "cluster.toml", data))
    again = load_cluster(_placed(folder, "again.toml", to_toml(cluster).encode()))
    assert again.name == cluster.name, "what is written is read as another"


def _library(data: bytes, folder: Path) -> None:
    load_library((_placed(folder, "library.toml", data),))


def _catalog(data: bytes, folder: Path) -> None:
    path = _placed(folder, "catalog.toml", data)
    _command("catalog", "check", path)


def _study(data: bytes, folder: Path) -> None:
    for name, content in seeds.beside_study().items():
        _placed(folder, name, content)
    load_study(_placed(folder, "study.toml", data))


# ---- CSV


def _profiles(data: bytes, folder: Path) -> None:
    load_profiles([_placed(folder, "profiles.csv", data)])


def _workflow_profiles(data: bytes, folder: Path) -> None:
    path = _placed(folder, "workflows.csv", data)
    load_workflow_profiles([path])
    load_configurations(path)


def _arrivals(data: bytes, folder: Path) -> None:
    load_arrivals(_placed(folder, "arrivals.csv", data), "chat", "interpolate")


def _outcomes(data: bytes, folder: Path) -> None:
    outcomes = load_outcomes(_placed(folder, "outcomes.csv", data))
    cascade_toml("it", ("a", "b"), tuple(calibrated(outcomes, (0.5, 0.9))), "here")


def _lengths(data: bytes, folder: Path) -> None:
    read_trace(_placed(folder, "trace.csv", data))


def _questions(data: bytes, folder: Path) -> None:
    _command("predict", "--csv", _placed(folder, "questions.csv", data))


def _tensors(data: bytes, folder: Path) -> None:
    read_header(_placed(folder, "model.safetensors", len(data).to_bytes(8, "little") + data))


READERS: tuple[Reader, ...] = (
    Reader("mkb", "text", _program, seeds.programs),
    Reader("fmt", "text", _layout, seeds.programs),
    Reader("mkir", "text", _ir, seeds.modules),
    Reader("plan", "json", _plan, seeds.plans),
    Reader("service-plan", "json", _service_plan, seeds.service_plans),
    Reader("library", "text", _library, seeds.libraries),
    Reader("compositions", "text", _library, seeds.compositions),
    Reader("cluster", "text", _cluster, seeds.clusters),
    Reader("study", "text", _study, seeds.studies),
    Reader("catalog", "text", _catalog, seeds.catalogs),
    Reader("profiles", "text", _profiles, seeds.profiles),
    Reader("workflow-profiles", "text", _workflow_profiles, seeds.workflow_profiles),
    Reader("arrivals", "text", _arrivals, seeds.arrivals),
    Reader("outcomes", "text", _outcomes, seeds.outcomes),
    Reader("lengths", "text", _lengths, seeds.lengths),
    Reader("questions", "text", _questions, seeds.questions),
    Reader("inputs", "json", _inputs, seeds.inputs, (InputError, UnusableInputs)),
    Reader("dataset", "lines", _dataset, seeds.datasets),
    Reader("answers", "json", _answer, seeds.answers, (ValueProblem,)),
    Reader("events", "lines", _events, seeds.events, (ValueError, StreamError)),
    Reader("record", "json", _record, seeds.records),
    Reader("calls", "lines", _calls, seeds.calls),
    Reader("progress", "lines", _progress, seeds.progress),
    Reader("lock", "json", _lock, seeds.locks),
    Reader("model-config", "json", _model, seeds.model_configs),
    Reader("safetensors", "json", _tensors, seeds.tensors),
)
BY_NAME = {reader.name: reader for reader in READERS}
