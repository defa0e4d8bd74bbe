"""Declared things with their types resolved, and which name means what in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..ir.diagnostics import Span
from ..ir.types import Base, Enum, ListOf, Option, Record, Type
from . import ast

BUILTINS = ("len", "flatten", "join")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A declared parameter with its resolved type."""

    name: str
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task declaration with resolved types; `standard` marks an interface of std/."""

    decl: ast.TaskDecl
    params: tuple[Parameter, ...]
    result: Type
    standard: bool

    @property
    def name(self) -> ast.Name:
        """The declared name."""
        return self.decl.name


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow declaration with resolved types, and the names its file knows."""

    decl: ast.WorkflowDecl
    params: tuple[Parameter, ...]
    result: Type
    names: FileNames

    @property
    def name(self) -> ast.Name:
        """The declared name."""
        return self.decl.name


Callee = TaskInfo | WorkflowInfo


@dataclass(slots=True)
class FileNames:
    """The names usable in one file: its own, then imported ones (several where imports clash)."""

    lines: tuple[str, ...]  # of the file's text
    own_callees: dict[str, Callee] = field(default_factory=dict)
    own_types: dict[str, TypeInfo] = field(default_factory=dict)
    imported_callees: dict[str, tuple[Callee, ...]] = field(default_factory=dict)
    imported_types: dict[str, tuple[TypeInfo, ...]] = field(default_factory=dict)
    complete: bool = True  # every import was found: a name that is not known is not anywhere

    def callees(self, name: str) -> tuple[Callee, ...]:
        """Return what a called name may mean: nothing, one declaration, or clashing imports."""
        own = self.own_callees.get(name)
        return (own,) if own is not None else self.imported_callees.get(name, ())

    def types(self, name: str) -> tuple[TypeInfo, ...]:
        """Return what a type name may mean: nothing, one declaration, or clashing imports."""
        own = self.own_types.get(name)
        return (own,) if own is not None else self.imported_types.get(name, ())

    def shown(self, kind: Type) -> str:
        """Return a type as the author would write it: by its declared name where it has one."""
        for name, info in self._visible_types():
            if info.resolved == kind and isinstance(kind, Record | Enum):
                return name
        match kind:
            case Base("Never") | Option(Base("Never")):
                return "none"
            case ListOf(Base("Never")):
                return "[]"
            case ListOf(item):
                return f"[{self.shown(item)}]"
            case Option(item):
                inner = self.shown(item)
                return f"({inner})?" if "|" in inner and inner[0] == '"' else f"{inner}?"
            case Record(fields) if fields:
                return "{ " + ", ".join(f"{n}: {self.shown(k)}" for n, k in fields) + " }"
        return str(kind)

    def _visible_types(self) -> Iterator[tuple[str, TypeInfo]]:
        yield from self.own_types.items()
        for name, infos in self.imported_types.items():
            if len(infos) == 1 and name not in self.own_types:
                yield name, infos[0]

    def known_callees(self) -> Iterator[str]:
        """Yield every name that can be called here."""
        yield from self.own_callees
        yield from self.imported_callees
        yield from BUILTINS

    def known_tasks(self) -> Iterator[str]:
        """Yield the name of every task that can be called here."""
        yield from (task.name.text for task in self.tasks())
        for name, callees in self.imported_callees.items():
            if any(isinstance(callee, TaskInfo) for callee in callees):
                yield name

    def workflows(self) -> Iterator[WorkflowInfo]:
        """Yield the file's own workflows, in source order."""
        return (c for c in self.own_callees.values() if isinstance(c, WorkflowInfo))

    def tasks(self) -> Iterator[TaskInfo]:
        """Yield the file's own tasks, in source order."""
        return (c for c in self.own_callees.values() if isinstance(c, TaskInfo))


@dataclass(slots=True)
class TypeInfo:
    """A type declaration; `resolved` once known, `active` while what it mentions is resolved."""

    decl: ast.TypeDecl
    resolved: Type | None = None
    active: bool = False
