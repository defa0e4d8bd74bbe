"""The state of elaborating one workflow body: names in scope, operations emitted, findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..ir.diagnostics import Label, Span
from ..ir.ops import Attr, Op, Region, Symbol, Value, attributes
from ..ir.types import NEVER, ListOf, Option, Record, Type, assignable, join
from . import ast
from .extents import MAX_DEPTH, MAX_PARTS, Extents
from .findings import Findings
from .names import FileNames, TaskInfo, WorkflowInfo


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with its static type.

    The static type may be wider than that of the IR value that carries it: an argument of an
    inlined workflow has the type its parameter declares.
    """

    value: Value
    type: Type


# operations whose results are larger than their operands
_BUILDING = ("record", "list", "map")

# What an erroneous expression yields: it fits everywhere, so that one mistake is reported once.
ERROR = Typed(Value("error", NEVER), NEVER)


@dataclass(slots=True)
class Binding:
    """A name in scope; `kind` is parameter, item, carried or binding."""

    typed: Typed
    span: Span
    kind: str
    used: bool = False
    rebound: Span | None = None


@dataclass(slots=True)
class Frame:
    """The names of one block, inside those of the blocks around it."""

    outer: Frame | None = None
    names: dict[str, Binding] = field(default_factory=dict)

    def find(self, name: str) -> Binding | None:
        """Return what a name means here."""
        frame: Frame | None = self
        while frame is not None:
            found = frame.names.get(name)
            if found is not None:
                return found
            frame = frame.outer
        return None

    def visible(self) -> Iterator[str]:
        """Yield every name in scope."""
        frame: Frame | None = self
        while frame is not None:
            yield from frame.names
            frame = frame.outer


class ValueNames:
    """Gives out value names, unique within a workflow; allocation can be taken back."""

    def __init__(self, reserved: frozenset[str]) -> None:
        """`reserved` are the names bindings will want: temporaries keep off them."""
        self._reserved = reserved
        self._next: dict[str, int] = {}
        self._taken: set[str] = set()
        self._log: list[tuple[str, int | None, str]] = []

    def fresh(self, base: str, *, temporary: bool = False) -> str:
        """Return `base`, or `base_1`, `base_2` … where that is taken."""
        before = self._next.get(base)
        count = before or 1
        name = base
        while name in self._taken or (name in self._reserved and (temporary or name != base)):
            name = f"{base}_{count}"
            count += 1
        self._log.append((base, before, name))
        self._next[base] = count
        self._taken.add(name)
        return name

    def mark(self) -> int:
        """Return a point to rewind to."""
        return len(self._log)

    def rewind(self, mark: int) -> Iterator[str]:
        """Take back every name given out since the mark, and yield them."""
        while len(self._log) > mark:
            base, before, name = self._log.pop()
            self._taken.discard(name)
            if before is None:
                del self._next[base]
            else:
                self._next[base] = before
            yield name


class Symbols:
    """The tasks of the module under their symbols: declared names, made unique across files."""

    def __init__(self, own: FileNames) -> None:
        """The file's own tasks keep their names."""
        self._by_symbol: dict[str, TaskInfo] = {t.name.text: t for t in own.tasks()}
        self._symbols: dict[Span, str] = {t.name.span: t.name.text for t in own.tasks()}
        self.called: dict[str, TaskInfo] = {}

    def symbol(self, task: TaskInfo) -> Symbol:
        """Return the symbol of a task that is called, giving it one at its first call."""
        name = self._symbols.get(task.name.span)
        if name is None:
            name, count = task.name.text, 0
            while name in self._by_symbol:
                count += 1
                name = f"{task.name.text}_{count}"
            self._by_symbol[name] = task
            self._symbols[task.name.span] = name
        self.called[name] = task
        return Symbol(name)


@dataclass(slots=True)
class Emission:
    """What a workflow and the workflows inlined into it share while they are elaborated."""

    names: ValueNames
    symbols: Symbols
    # open regions, the innermost last
    regions: list[list[Op]]
    extents: Extents = field(default_factory=Extents)
    # known results, by value name, so that constant conditions can be told
    constants: dict[str, Attr] = field(default_factory=dict)
    # where each pin of a call stands: the span of the call, then the pin's name
    pin_spans: dict[Span, dict[str, Span]] = field(default_factory=dict)
    called: set[Symbol] = field(default_factory=set)
    count: int = 0  # operations, those of other workflows of the program too
    overflow: bool = False  # inlining was cut short: too large, or too deep
    blocked: bool = False  # a called workflow cannot be inlined, for a reason given elsewhere


class Context(ABC):
    """One body being elaborated in the scope of its file."""

    def __init__(
        self,
        names: FileNames,
        findings: Findings,
        emission: Emission,
        closed: Set[Span],
        depth: int = 0,
    ) -> None:
        """`closed` are the workflows that cannot be inlined; `depth` is that of the caller."""
        self.file_names = names
        self.findings = findings
        self.emission = emission
        self.closed = closed
        self.depth = depth
        self.frame = Frame()
        # every name bound in this body, in source order, for facts such as `len(scenes)`
        self.bound: list[tuple[str, Binding]] = []
        # the types that carried names settled at, by the span of their `repeat`
        self.settled: dict[Span, list[Type]] = {}

    @abstractmethod
    def expression(self, node: ast.Expr, hint: str | None = None) -> Typed:
        """Check an expression and emit its operations; its value is called `hint` if possible."""

    @abstractmethod
    def inline(self, workflow: WorkflowInfo, args: tuple[Typed, ...], hint: str | None) -> Typed:
        """Emit the body of another workflow in place of a call of it."""

    # ---- names

    def define(self, name: ast.Name, typed: Typed, kind: str) -> Binding:
        """Enter a name into the innermost block, with a warning where it hides an outer one."""
        outer = self.frame.outer.find(name.text) if self.frame.outer is not None else None
        if outer is not None:
            self.findings.warn(
                "shadowed-name",
                f"`{name.text}` hides an outer binding of that name",
                name.span,
                Label(outer.span, "the outer one"),
            )
        binding = Binding(typed, name.span, kind)
        self.frame.names[name.text] = binding
        self.bound.append((name.text, binding))
        return binding

    def argument(self, name: str, kind: Type) -> Value:
        """Return a new value for a region's argument."""
        return Value(self.emission.names.fresh(name), kind)

    @contextmanager
    def block(self) -> Iterator[list[Op]]:
        """Open a block and its region; the operations emitted meanwhile are in the list."""
        ops: list[Op] = []
        self.emission.regions.append(ops)
        self.frame = Frame(self.frame)
        try:
            yield ops
        finally:
            self.unused(self.frame)
            assert self.frame.outer is not None
            self.frame = self.frame.outer
            self.emission.regions.pop()

    def unused(self, frame: Frame) -> None:
        """Warn about the bindings of a block that nothing reads."""
        for name, binding in frame.names.items():
            if binding.kind in ("binding", "carried") and not binding.used and name[0] != "_":
                self.findings.warn(
                    "unused-binding",
                    f"`{name}` is never used",
                    binding.span,
                    help="remove it, or begin its name with `_` if that is meant",
                )

    # ---- operations

    def emit(
        self,
        kind: str,
        operands: tuple[Typed, ...],
        type: Type,
        span: Span,
        *,
        hint: str | None = None,
        base: str | None = None,
        symbol: Symbol | None = None,
        attrs: Mapping[str, Attr] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Typed:
        """Append an operation; its result is called `hint` (a binding) or after `base` or kind."""
        if kind in _BUILDING and self.emission.extents.too_large(type):
            self.findings.error(
                "type-too-large",
                f"the type of this value has more than {MAX_PARTS} parts, or more than {MAX_DEPTH} "
                "levels",
                span,
            )
            type = NEVER
        if hint is not None:
            name = self.emission.names.fresh(hint)
        else:
            name = self.emission.names.fresh(base or kind, temporary=True)
        result = Value(name, type)
        values = tuple(operand.value for operand in operands)
        op = Op(kind, values, result, symbol, attributes(attrs or {}), regions, (span,))
        self.emission.regions[-1].append(op)
        self.emission.count += 1
        return Typed(result, type)

    def constant(self, value: Attr, type: Type, span: Span, hint: str | None = None) -> Typed:
        """Emit a constant; `none` is one without a value."""
        typed = self.emit("const", (), type, span, hint=hint, attrs={"value": value})
        self.emission.constants[typed.value.name] = value
        return typed

    def region(self, args: tuple[Value, ...], ops: list[Op], *out: Typed, span: Span) -> Region:
        """Close a region with a `yield` of these values."""
        end = Op("yield", tuple(o.value for o in out), locs=(span,))
        return Region(args, (*ops, end))

    def known(self, typed: Typed) -> Attr:
        """Return the constant a value is known to be; None where it is not (or is `none`)."""
        return self.emission.constants.get(typed.value.name)

    # ---- types

    def shown(self, kind: Type) -> str:
        """Return a type as messages name it."""
        return self.file_names.shown(kind)

    def common(self, a: Type, b: Type) -> Type | None:
        """Return the least type both convert to, or None; nothing is known beside an error."""
        if NEVER in (a, b) and self.findings.failed:
            return NEVER
        return join(a, b)

    def fits(self, typed: Typed, target: Type, span: Span, what: str, *labels: Label) -> bool:
        """Report a value that cannot stand where `target` is wanted; `what` says where that is."""
        if assignable(typed.type, target):
            return True
        if self.findings.failed and _unknown(target):
            return False  # an error said elsewhere
        if isinstance(typed.type, Option) and assignable(typed.type.item, target):
            self.absent(typed.type, span, what, *labels)
            return False
        self.findings.error(
            "type-mismatch",
            f"{what} wants `{self.shown(target)}`, this is `{self.shown(typed.type)}`",
            span,
            *labels,
        )
        return False

    def absent(self, kind: Type, span: Span, what: str, *labels: Label) -> None:
        """Report an optional value where one is needed."""
        self.findings.error(
            "optional-value",
            f"{what} wants a value, this is `{self.shown(kind)}` and may be absent",
            span,
            *labels,
            help="give what stands in for it: `… ?? default`",
        )


def _unknown(kind: Type) -> bool:
    """Tell whether a declared type has a part that could not be resolved."""
    match kind:
        case ListOf(item) | Option(item):
            return _unknown(item)
        case Record(fields):
            return any(_unknown(part) for _, part in fields)
    return kind == NEVER
