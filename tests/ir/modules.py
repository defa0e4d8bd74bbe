"""Well-typed IR modules for property tests: nested regions, effects, pins, spans, odd strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from murakkab.ir.diagnostics import Span
from murakkab.ir.inference import result_type
from murakkab.ir.ops import Attr, Level, Op, Region, Symbol, Value, attributes
from murakkab.ir.types import (
    BOOL,
    FLOAT,
    INT,
    NEVER,
    TEXT,
    Base,
    Enum,
    ListOf,
    Option,
    Record,
    Type,
    assignable,
    enum,
    option,
)
from murakkab.ir.workflow import Expectation, Module, Requirement, Task, Workflow

TEXTS = ("", "a", 'é "quoted"\n', "\\ 日本 \t", "{x}")
WORD = enum(("a", "b"))
NOTE = Record((("t", TEXT), ("n", INT)))
TYPES: tuple[Type, ...] = (
    *(TEXT, INT, FLOAT, BOOL, WORD, NOTE),
    *(ListOf(TEXT), ListOf(INT), ListOf(ListOf(TEXT)), ListOf(NOTE)),
    *(Option(TEXT), Option(NOTE), Option(ListOf(TEXT))),
)
LITERALS: tuple[Type, ...] = (TEXT, INT, FLOAT, BOOL, WORD)
CARRIED: tuple[Type, ...] = (TEXT, ListOf(TEXT), INT)
BOTH = Record((("ask", TEXT), ("word", WORD)))
TASKS = (
    Task("ask", (Value("q", TEXT),), TEXT, description="Answer. « é »", prompt="{q}\n日本"),
    Task("both", (Value("q", TEXT),), BOTH, prompt="{q}, {q}?", answers=("ask", "word")),
    Task("count", (Value("xs", ListOf(TEXT)),), INT, using="count"),
    Task("find", (Value("q", TEXT), Value("n", INT)), Option(TEXT)),
    Task("note", (Value("q", TEXT), Value("maybe", Option(TEXT))), NOTE),
    Task("post", (Value("m", TEXT),), BOOL, effect=True),
    Task("split", (Value("q", TEXT),), ListOf(TEXT), system='Say "no"'),
    Task("word", (Value("n", NOTE),), WORD),
)
PINS: tuple[tuple[str, Attr], ...] = (
    ("pin.device", "= cpu"),
    ("pin.frames", ("<= 10", ">= 2")),
    ("at.device", (1, 2, 1, 9)),
)
BINARY = ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "coalesce")
UNARY = ("not", "neg", "is_none", "len", "flatten", "majority", "agreement")
CONTROL = ("map", "map", "map", "map", "filter", "if", "loop")


@st.composite
def spans(draw: DrawFn) -> tuple[Span, ...]:
    """No, one or two source spans."""
    lines = draw(st.lists(st.integers(1, 99), max_size=2, unique=True))
    return tuple(Span("dir/é.mkb", line, 1, line, 9) for line in lines)


def constants(kind: Type) -> SearchStrategy[Attr]:
    """Values a constant of a type may have; nothing for types without literals."""
    match kind:
        case Enum(values):
            return st.sampled_from(values)
        case Option():
            return st.none()
        case Base("Text"):
            return st.sampled_from(TEXTS)
        case Base("Int"):
            return st.integers(-2, 3)
        case Base("Float"):
            return st.sampled_from((0.0, -0.0, 1, 1.0, 2.5, 1e-9, 1e300))
        case Base("Bool"):
            return st.booleans()
    return st.nothing()


@dataclass
class _Scope:
    """What may be read at a point of the workflow."""

    values: list[Value]

    def of(self, kind: Type) -> list[Value]:
        return [value for value in self.values if assignable(value.type, kind)]


class _Builder:
    """Draws the operations of one workflow."""

    def __init__(self, draw: DrawFn, level: Level) -> None:
        self.draw = draw
        self.level = level
        self.count = 0

    def fresh(self, kind: Type, base: str = "v") -> Value:
        self.count += 1
        return Value(f"{base}{self.count}", kind)

    def pick(self, values: Sequence[Value]) -> Value:
        return self.draw(st.sampled_from(values))

    # ---- regions

    def body(
        self, scope: _Scope, args: tuple[Value, ...], depth: int, wanted: Sequence[Type | None]
    ) -> Region:
        """A region that yields a value of each wanted type (None: of any)."""
        inner = _Scope([*scope.values, *args])
        ops: list[Op] = []
        for _ in range(self.draw(st.integers(0, 4 if depth else 7))):
            self.operation(inner, ops, depth)
        out = [
            self.pick(inner.values) if kind is None else self.value(inner, ops, kind)
            for kind in wanted
        ]
        return Region(args, (*ops, Op("yield", tuple(out), locs=self.draw(spans()))))

    def emit(self, scope: _Scope, ops: list[Op], op: Op) -> Value | None:
        """Append an operation if its operands give it a type, now and then a wider one."""
        if op.result is None:
            found = result_type(op)
            if isinstance(found, str) or found == NEVER:
                return None
            wider = self.draw(st.integers(0, 9)) == 0 and op.kind != "filter"
            op = replace(op, result=self.fresh(_wider(found) if wider else found))
        op = replace(op, locs=self.draw(spans()))
        ops.append(op)
        scope.values.append(op.out())
        return op.out()

    def value(self, scope: _Scope, ops: list[Op], kind: Type) -> Value:
        """A value that is assignable to a type: one there is, or a new one."""
        known = scope.of(kind)
        reuse = self.draw(st.integers(0, 3)) > 0
        if known and reuse:
            return self.pick(known)
        match kind:
            case ListOf(item):
                items = [self.value(scope, ops, item) for _ in range(self.draw(st.integers(0, 2)))]
                op = Op("list", tuple(items), self.fresh(kind))
            case Record(fields):
                parts = tuple(self.value(scope, ops, part) for _, part in fields)
                names = tuple(name for name, _ in fields)
                op = Op("record", parts, self.fresh(kind), attrs=attributes({"fields": names}))
            case _:
                value = self.draw(constants(kind))
                op = Op("const", (), self.fresh(kind), attrs=attributes({"value": value}))
        made = self.emit(scope, ops, op)
        assert made is not None  # its type is given
        return made

    # ---- operations

    def operation(self, scope: _Scope, ops: list[Op], depth: int) -> None:
        makers: list[Callable[[_Scope, list[Op], int], None]] = [
            self.call,
            self.call,
            self.simple,
            self.simple,
            self.structure,
        ]
        if depth < 3:
            makers += [self.control] * 3
        self.draw(st.sampled_from(makers))(scope, ops, depth)

    def call(self, scope: _Scope, ops: list[Op], depth: int) -> None:
        task = self.draw(st.sampled_from(TASKS))
        operands = tuple(self.value(scope, ops, param.type) for param in task.params)
        rare = self.draw(st.integers(0, 11))
        attrs: dict[str, Attr] = {}
        if rare < 3:
            attrs |= dict(PINS[: rare + 1])
        if rare == 3:
            attrs["sampled"] = True
        if rare in (4, 5) and not task.effect:
            attrs["optional"] = True
        if self.level == "logical":
            attrs["candidates"] = (Symbol("tool"), Symbol("model"))[rare % 2 :]
        kind = option(task.result) if attrs.get("optional") else task.result
        op = Op("call", operands, self.fresh(kind, "c"), Symbol(task.name), attributes(attrs))
        self.emit(scope, ops, op)

    def simple(self, scope: _Scope, ops: list[Op], depth: int) -> None:
        kind = self.draw(st.sampled_from((*BINARY, *UNARY, "const", "join")))
        if kind == "const":
            self.value(_Scope([]), ops, self.draw(st.sampled_from(LITERALS)))
            scope.values.append(ops[-1].out())
            return
        operands = [self.pick(scope.values)]
        if kind in BINARY or kind == "join":
            operands.append(self.pick(scope.values))
        self.emit(scope, ops, Op(kind, tuple(operands)))

    def structure(self, scope: _Scope, ops: list[Op], depth: int) -> None:
        records = [value for value in scope.values if isinstance(value.type, Record)]
        choice = self.draw(st.integers(0, 2))
        if choice == 0 and records:
            record = self.pick(records)
            assert isinstance(record.type, Record)
            name = self.draw(st.sampled_from(record.type.fields))[0]
            self.emit(scope, ops, Op("field", (record,), attrs=attributes({"name": name})))
            return
        self.value(scope, ops, self.draw(st.sampled_from(TYPES)))

    def control(self, scope: _Scope, ops: list[Op], depth: int) -> None:
        kind = self.draw(st.sampled_from(CONTROL))
        if kind in ("map", "filter"):
            lists = [v for v in scope.values if isinstance(v.type, ListOf)]
            items = self.pick(lists) if lists else self.value(scope, ops, ListOf(TEXT))
            assert isinstance(items.type, ListOf)
            arg = self.fresh(items.type.item, "i")
            wanted = BOOL if kind == "filter" else None
            region = self.body(scope, (arg,), depth + 1, [wanted])
            self.emit(scope, ops, Op(kind, (items,), regions=(region,)))
        elif kind == "if":
            result = self.draw(st.sampled_from(TYPES))
            condition = self.value(scope, ops, BOOL)
            branches = tuple(self.body(scope, (), depth + 1, [result]) for _ in range(2))
            self.emit(scope, ops, Op("if", (condition,), regions=branches))
        else:
            first = self.value(scope, ops, self.draw(st.sampled_from(CARRIED)))
            arg = self.fresh(first.type, "l")
            region = self.body(scope, (arg,), depth + 1, [None, BOOL, first.type])
            limit = attributes({"limit": self.draw(st.integers(1, 3))})
            self.emit(scope, ops, Op("loop", (first,), regions=(region,), attrs=limit))


def _wider(kind: Type) -> Type:
    match kind:
        case Enum():
            return TEXT
        case Base("Int"):
            return FLOAT
        case Record(fields):
            return Record(tuple((name, _wider(part)) for name, part in fields))
    return option(kind)


@st.composite
def modules(draw: DrawFn, levels: Sequence[Level] = ("flow", "logical")) -> Module:
    """Modules that the verifier accepts, with one workflow."""
    level = draw(st.sampled_from(tuple(levels)))
    builder = _Builder(draw, level)
    params = (Value("q", TEXT), Value("xs", ListOf(TEXT)), Value("flag", BOOL))
    body = builder.body(_Scope([]), params, 0, [None])
    ops = (*body.body, Op("return", body.terminator.operands, locs=body.terminator.locs))
    result = ops[-1].operands[0].type
    named = [op.out().name for op in ops[:-1]] or ["xs"]
    fact = draw(st.sampled_from((f"len({named[-1]})", "rate", "tokens(ask)")))
    place = Span("é.mkb", 3, 1, 3, 8)
    workflow = Workflow(
        "w",
        params,
        result,
        Region((), ops),
        description=draw(st.sampled_from(TEXTS)),
        goals=("energy",) if draw(st.booleans()) else (),
        requirements=(Requirement("latency", "<=", 30.5, "p95", "latency <= 30.5 s", place),),
        expectations=(Expectation(fact, 8.0, place),),
        loc=place if draw(st.booleans()) else None,
    )
    return Module(level, (workflow,), tuple(_task(task, level) for task in TASKS))


def _task(task: Task, level: Level) -> Task:
    if level == "flow":
        return task
    return replace(task, interface="generate", binding=tuple(p.name for p in task.params))
