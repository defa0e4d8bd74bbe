"""Collecting what the files of a program declare: types, tasks and workflows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..ir.diagnostics import Label, Span
from ..ir.types import BASE_TYPES, NEVER, Base, ListOf, Record, Type, enum, option
from . import ast
from .extents import MAX_DEPTH, MAX_PARTS, Extents
from .findings import Findings
from .imports import Loaded, Program, import_hint
from .names import BUILTINS, Callee, FileNames, Parameter, TaskInfo, TypeInfo, WorkflowInfo
from .prompts import check_prompts
from .traverse import mentioned


def declare(program: Program, findings: Findings) -> dict[str, FileNames]:
    """Collect the declarations of every file, by path; imported files come before importers."""
    tables: dict[str, FileNames] = {}
    for loaded in program.files:
        names = FileNames(loaded.lines, complete=loaded.complete)
        tables[loaded.file.path] = names
        for _, target in loaded.imports:
            _import(names, tables[target.file.path])
        # a warning about an imported file is of no use to the author of this one
        _Declaring(names, loaded, findings, warn=loaded is program.root).run()
    return tables


def _import(names: FileNames, source: FileNames) -> None:
    for name, callee in source.own_callees.items():
        callees = names.imported_callees.get(name, ())
        if not any(callee is known for known in callees):
            names.imported_callees[name] = (*callees, callee)
    for name, info in source.own_types.items():
        types = names.imported_types.get(name, ())
        if not any(info is known for known in types):
            names.imported_types[name] = (*types, info)


class _Declaring:
    def __init__(self, names: FileNames, loaded: Loaded, findings: Findings, *, warn: bool) -> None:
        self.names = names
        self.loaded = loaded
        self.findings = findings
        self.warn = warn
        self.types = TypeResolver(names, findings)

    def run(self) -> None:
        declarations = self.loaded.file.declarations
        for decl in declarations:
            if isinstance(decl, ast.TypeDecl):
                self.type(decl)
        self.types.declare()
        for decl in declarations:
            if isinstance(decl, ast.TaskDecl):
                self.task(decl)
            elif isinstance(decl, ast.WorkflowDecl):
                self.workflow(decl)

    def type(self, decl: ast.TypeDecl) -> None:
        name = decl.name.text
        if name in BASE_TYPES:
            self.findings.error(
                "duplicate-declaration",
                f"`{name}` is a type of the language",
                decl.name.span,
                help="give the type a name of its own",
            )
            return
        known = self.names.own_types.get(name)
        if known is not None:
            self.twice(decl.name, known.decl.name)
            return
        self.names.own_types[name] = TypeInfo(decl)
        imported = self.names.imported_types.get(name, ())
        self.shadowing(decl.name, [i.decl.name for i in imported])

    def task(self, decl: ast.TaskDecl) -> None:
        params = self.params(decl.params)
        info = TaskInfo(decl, params, self.types.resolve(decl.result), self.loaded.standard)
        self.once("description", decl.descriptions)
        self.once("`system`", decl.systems)
        self.once("`prompt`", decl.prompts)
        self.once("`using`", decl.usings)
        check_prompts(info, self.names, self.findings, warn=self.warn)
        self.callee(decl.name, info)

    def workflow(self, decl: ast.WorkflowDecl) -> None:
        params = self.params(decl.params)
        info = WorkflowInfo(decl, params, self.types.resolve(decl.result), self.names)
        self.callee(decl.name, info)

    def callee(self, name: ast.Name, info: Callee) -> None:
        known = self.names.own_callees.get(name.text)
        if known is not None:
            self.twice(name, known.name)
            return
        self.names.own_callees[name.text] = info
        imported = self.names.imported_callees.get(name.text, ())
        self.shadowing(name, [i.name for i in imported])
        if name.text in BUILTINS and self.warn:
            self.findings.warn(
                "shadowed-name",
                f"`{name.text}` hides the built-in function of that name",
                name.span,
            )

    def twice(self, name: ast.Name, first: ast.Name) -> None:
        self.findings.error(
            "duplicate-declaration",
            f"`{name.text}` is declared twice",
            name.span,
            Label(first.span, "first declared here"),
        )

    def shadowing(self, name: ast.Name, hidden: list[ast.Name]) -> None:
        if hidden and self.warn:
            self.findings.warn(
                "shadowed-name",
                f"`{name.text}` hides an imported declaration",
                name.span,
                *(Label(h.span, "the imported one") for h in hidden),
                help="rename it, or drop the import if nothing else of it is used",
            )

    def once(self, what: str, items: Sequence[ast.Literal | ast.Name]) -> None:
        for index, item in enumerate(items):
            if index > 0:
                self.findings.error(
                    "duplicate-item",
                    f"a task has at most one {what}",
                    item.span,
                    Label(items[0].span, "the first one"),
                )

    def params(self, nodes: tuple[ast.Param, ...]) -> tuple[Parameter, ...]:
        seen: dict[str, Span] = {}
        found: list[Parameter] = []
        for node in nodes:
            kind = self.types.resolve(node.type)
            if node.name.text in seen:
                self.findings.error(
                    "duplicate-parameter",
                    f"there are two parameters `{node.name.text}`",
                    node.name.span,
                    Label(seen[node.name.text], "the first one"),
                )
                continue
            seen[node.name.text] = node.name.span
            found.append(Parameter(node.name.text, kind, node.name.span))
        return tuple(found)


class TypeResolver:
    """Turns type expressions of one file into types; a wrong one becomes `Never`."""

    def __init__(self, names: FileNames, findings: Findings) -> None:
        """Resolve names as the file sees them."""
        self.names = names
        self.findings = findings
        self.extents = Extents()

    def resolve(self, node: ast.TypeExpr) -> Type:
        """Return the type an expression stands for."""
        kind = self._resolve(node)
        if not self.extents.too_large(kind):
            return kind
        self.findings.error(
            "type-too-large",
            f"written out, this type has more than {MAX_PARTS} parts, or more than {MAX_DEPTH} "
            "levels",
            node.span,
            help="use `Json` for data of any shape",
        )
        return NEVER

    def declare(self) -> None:
        """Resolve the file's own type declarations, each after those it mentions.

        The search is iterative, so that a long chain of declarations costs no call stack.
        """
        for start in self.names.own_types.values():
            path = [(start, self._needed(start))]
            while path:
                info, needed = path[-1]
                info.active = True
                following = next(needed, None)
                if following is not None:
                    path.append((following, self._needed(following)))
                    continue
                if info.resolved is None:
                    info.resolved = self.resolve(info.decl.type)
                info.active = False
                path.pop()

    def _needed(self, info: TypeInfo) -> Iterator[TypeInfo]:
        """Yield the declarations to resolve before one, as long as they are not under way."""
        for name in mentioned(info.decl.type):
            found = self.names.own_types.get(name)
            if found is not None and found.resolved is None and not found.active:
                yield found

    def _resolve(self, node: ast.TypeExpr) -> Type:
        match node:
            case ast.TypeName(name, span):
                return self._named(name, span)
            case ast.TypeList(item):
                return ListOf(self._resolve(item))
            case ast.TypeOption(item):
                return option(self._resolve(item))
            case ast.TypeEnum(values):
                return enum(tuple(str(v.value) for v in values))
            case ast.TypeRecord(fields):
                return self._record(fields)

    def _record(self, nodes: tuple[tuple[ast.Name, ast.TypeExpr], ...]) -> Type:
        seen: dict[str, Span] = {}
        fields: list[tuple[str, Type]] = []
        for name, node in nodes:
            kind = self._resolve(node)
            if name.text in seen:
                self.findings.error(
                    "duplicate-field",
                    f"there are two fields `{name.text}`",
                    name.span,
                    Label(seen[name.text], "the first one"),
                )
                continue
            seen[name.text] = name.span
            fields.append((name.text, kind))
        return Record(tuple(fields))

    def _named(self, name: str, span: Span) -> Type:
        if name in BASE_TYPES:
            return Base(name)
        found = self.names.types(name)
        if len(found) == 1:
            return self._declared(found[0], span)
        if found:
            self.findings.error(
                "ambiguous-name",
                f"two imported files declare a type `{name}`",
                span,
                *(Label(info.decl.name.span, "one of them") for info in found),
                help="declare the type in this file: a file's own names come first",
            )
            return NEVER
        if not self.names.complete:
            return NEVER  # it may stand in the file that could not be imported
        known = [*BASE_TYPES, *self.names.own_types, *self.names.imported_types]
        self.findings.error(
            "unknown-type",
            f"no type named `{name}`",
            span,
            help=import_hint(name) or self.findings.suggest(name, known),
        )
        return NEVER

    def _declared(self, info: TypeInfo, use: Span) -> Type:
        if info.resolved is not None:
            return info.resolved
        name = info.decl.name
        self.findings.error(
            "recursive-type",
            f"type `{name.text}` contains itself",
            use,
            Label(name.span, "declared here"),
            help="a value of it would have no end; use `Json` for data of any depth",
        )
        return NEVER
