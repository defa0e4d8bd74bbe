"""The front end: program text to checked flow IR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..ir.diagnostics import CompileError, Diagnostic, Span, did_you_mean
from ..ir.ops import Symbol, Value
from ..ir.workflow import Module, Task, Workflow
from . import ast
from .context import Symbols
from .declarations import declare
from .elaborate import call_order, elaborate
from .findings import Findings
from .imports import Program, load, standard_modules
from .names import FileNames, TaskInfo
from .source import read_source


@dataclass(frozen=True, slots=True)
class Checked:
    """A program without errors.

    `module` holds every workflow of the file at level flow, `sources` the text of every file read,
    by the name its spans carry. `pin_spans` says where the pins of a call stand: by the call's
    span (its `locs`), then by the pin's name.
    """

    module: Module
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    pin_spans: Mapping[Span, Mapping[str, Span]]

    @property
    def workflow_names(self) -> tuple[str, ...]:
        """The names of the file's workflows, in source order."""
        return tuple(workflow.name for workflow in self.module.workflows)


def check_file(path: str | Path, sources: dict[str, str] | None = None) -> Checked:
    """Check a file and all it imports, and lower its workflows to flow IR.

    Raises InputError when the file cannot be read, and CompileError with every error found. Pass
    `sources` to have the texts of the files read even when the program is wrong.
    """
    return check_text(read_source(path), str(path), Path(path).parent, sources)


def check_text(
    text: str,
    path: str = "<text>",
    root: Path | None = None,
    sources: dict[str, str] | None = None,
) -> Checked:
    """Check program text as `check_file` does; imports are relative to the folder `root`.

    Without a `root` only the standard library can be imported.
    """
    findings = Findings()
    texts: dict[str, str] = {} if sources is None else sources
    program = load(text, path, root, findings, texts)
    tables = declare(program, findings)
    own = tables[program.root.file.path]
    symbols = Symbols(own)
    pin_spans: dict[Span, dict[str, Span]] = {}
    workflows = _workflows(program, tables, symbols, findings, pin_spans)
    if findings.failed:
        # what is unused may be what an error keeps from being used
        raise CompileError(d for d in findings.diagnostics if not d.id.startswith("unused-"))
    _unused_tasks(own, symbols, findings)
    module = Module("flow", workflows, _tasks(workflows, symbols))
    return Checked(module, findings.warnings, texts, pin_spans)


def _workflows(
    program: Program,
    tables: Mapping[str, FileNames],
    symbols: Symbols,
    findings: Findings,
    pin_spans: dict[Span, dict[str, Span]],
) -> tuple[Workflow, ...]:
    """Elaborate the workflows of every file; those of the root file are the module's."""
    closed: set[Span] = set()
    found: dict[str, Workflow] = {}
    operations = 0
    for loaded in program.files:
        names = tables[loaded.file.path]
        order, recursive = call_order(names, findings)
        closed |= recursive
        for info in order:
            if loaded is program.root:
                flow = elaborate(info, symbols, closed, findings, pin_spans, operations)
                found[flow.name] = flow
            else:  # imported: checked for its errors alone
                apart = Findings()
                flow = elaborate(info, Symbols(names), closed, apart, {}, operations)
                findings.diagnostics += apart.errors
            operations += sum(1 for _ in flow.walk())
    return tuple(found[info.name.text] for info in tables[program.root.file.path].workflows())


def _unused_tasks(own: FileNames, symbols: Symbols, findings: Findings) -> None:
    if not any(True for _ in own.workflows()):
        return  # a file of declarations, for others to import
    called = {task.name.span for task in symbols.called.values()}
    for task in own.tasks():
        if task.name.span not in called:
            findings.warn("unused-task", f"no workflow calls `{task.name.text}`", task.name.span)


def _tasks(workflows: tuple[Workflow, ...], symbols: Symbols) -> tuple[Task, ...]:
    called = {str(op.symbol) for workflow in workflows for op in workflow.calls()}
    return tuple(lowered_task(symbols.called[name], name) for name in sorted(called))


def lowered_task(task: TaskInfo, symbol: str) -> Task:
    """Return the IR form of a task; one of the standard library uses the interface it declares."""
    decl = task.decl
    using = decl.usings[0].text if decl.usings else None
    return Task(
        name=symbol,
        params=tuple(Value(param.name, param.type) for param in task.params),
        result=task.result,
        effect=decl.effect,
        description=_text(decl.descriptions) or "",
        system=_text(decl.systems),
        prompt=_text(decl.prompts),
        using=decl.name.text if task.standard else using,
        loc=decl.name.span,
    )


def _text(literals: tuple[ast.Literal, ...]) -> str | None:
    return str(literals[0].value) if literals else None


def standard_interfaces() -> tuple[Task, ...]:
    """Return the operator interfaces the standard library declares, sorted by name."""
    imports = "".join(f'import "{name}"\n' for name in standard_modules())
    findings = Findings()
    program = load(imports, "<interfaces>", None, findings, {})
    tables = declare(program, findings)
    found = [task for names in tables.values() for task in names.tasks()]
    return tuple(sorted((lowered_task(t, t.name.text) for t in found), key=lambda t: t.name))


def select(checked: Checked, name: str | None = None) -> Module:
    """Return the module with one workflow and the tasks it calls; a sole workflow needs no name.

    Raises CompileError where there is no such workflow, or where a choice is needed.
    """
    module, names = checked.module, checked.workflow_names
    listed = ", ".join(f"`{n}`" for n in names)
    if not names:
        raise CompileError([Diagnostic("no-workflow", "the file declares no workflow")])
    if name is None and len(names) > 1:
        raise CompileError(
            [
                Diagnostic(
                    "choose-workflow",
                    f"the file declares {len(names)} workflows",
                    help=f"choose one with `--workflow`: {listed}",
                )
            ]
        )
    if name is not None and name not in names:
        help = did_you_mean(name, names) or f"the file declares {listed}"
        message = f"the file declares no workflow `{name}`"
        raise CompileError([Diagnostic("unknown-workflow", message, help=help)])
    workflow = next(w for w in module.workflows if name in (None, w.name))
    called = {op.symbol or Symbol("") for op in workflow.calls()}
    tasks = tuple(task for task in module.tasks if task.name in called)
    return replace(module, workflows=(workflow,), tasks=tasks)
