"""Work analysis: how often each step runs, on how much, and what it must wait for.

Sizes (list lengths, tokens, seconds, pixels) flow from parameters, expectations and the library's
formulas through the workflow; where a size depends on how an earlier step is carried out, the
analysis keeps it case by case (`varying`). Counts are for one request and pessimistic where the
program leaves them open: both branches of an `if` are counted unless it says how `likely` each is,
a `repeat` runs to its limit unless its mean `rounds` are known, a `where` keeps every item unless
`expect len(…)` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..ir.ops import Op, Region, Value
from ..ir.types import Type
from ..ir.workflow import Module, Task, Workflow
from ..targets.sizes import Size, default_size
from .configurations import Configuration, Expected, parameters, result_size
from .dependencies import Waits, after, as_list, both, element
from .varying import Case, Varying, combine, depend, fixed


@dataclass(frozen=True, slots=True)
class Count:
    """How often a step runs: `sequential` rounds of `parallel` calls that may overlap.

    `share` is the part of them that is made on average, where a branch may not be taken or a loop
    may stop early: time is counted for all of them, what they take on average.
    """

    parallel: float = 1.0
    sequential: float = 1.0
    share: float = 1.0

    @property
    def calls(self) -> float:
        """Mean number of calls."""
        return self.parallel * self.sequential * self.share

    def of(self, share: float) -> Count:
        """Return the count where so much of it is made."""
        return replace(self, share=self.share * share) if share != 1.0 else self


@dataclass(frozen=True, slots=True)
class StepWork:
    """What the analysis knows of a step.

    sizes: the interface's parameters (and `prompt`), case by case; counts likewise. outputs: the
    result's size, one per configuration. classes: the class of what each configuration puts out.
    expected: the tokens that the author expects of each answer (`expect tokens(task)`). waits: the
    steps it must wait for, and those it streams from.
    """

    op: Op
    task: Task
    configurations: tuple[Configuration, ...]
    sizes: Varying[Mapping[str, Size]]
    counts: Varying[Count]
    outputs: Varying[tuple[Size, ...]]
    classes: tuple[int, ...]
    expected: Expected
    waits: Waits


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a value: its size by case, and the steps it comes from."""

    size: Varying[Size]
    waits: Waits


def analyse(
    module: Module, configured: Mapping[str, tuple[Configuration, ...]]
) -> tuple[StepWork, ...]:
    """Return the work of every step in program order; `configured` is by step name."""
    return _Walker(module, configured).run()


def largest(a: Size, b: Size) -> Size:
    """Return the size that is at least as big as both, part by part."""
    names = [name for name, _ in a.fields] + [n for n, _ in b.fields if a.field(n) is None]
    fields = tuple(
        (name, largest(a.field(name) or Size(), b.field(name) or Size())) for name in names
    )
    item = largest(a.item or Size(), b.item or Size()) if a.item or b.item else None
    return Size(
        tokens=max(a.tokens, b.tokens),
        duration=max(a.duration, b.duration),
        pixels=max(a.pixels, b.pixels),
        bytes=max(a.bytes, b.bytes),
        fps=max(a.fps, b.fps),
        images=max(a.images, b.images),
        length=max(a.length, b.length),
        item=item,
        fields=fields,
    )


class _Walker:
    """One walk over a workflow; holds the environment while it lasts."""

    def __init__(self, module: Module, configured: Mapping[str, tuple[Configuration, ...]]) -> None:
        self.workflow: Workflow = module.sole()
        self.tasks = {task.name: task for task in module.tasks}
        self.configured = configured
        self.facts = {e.fact: e.value for e in self.workflow.expectations}
        self.known: dict[str, _Known] = {}
        self.steps: list[StepWork] = []
        self.last_effects: tuple[str, ...] = ()
        self.depth = 0  # how many `for`s enclose the operation

    def run(self) -> tuple[StepWork, ...]:
        for value in self.workflow.params:
            size = self._expected_parameter(value)
            self.known[value.name] = _Known(fixed(size), Waits())
        self._region(self.workflow.body, fixed(Count()), Waits())
        return tuple(self.steps)

    def _expected_parameter(self, value: Value) -> Size:
        size = default_size(value.type)
        for fact, amount in self.facts.items():
            root, _, path = fact.partition(".")
            if root == value.name and path:
                size = size.with_fact(path, amount)
            elif fact == f"len({value.name})":
                size = size.with_fact("len", amount)
        return size

    # ---- regions and operations

    def _region(self, region: Region, count: Varying[Count], control: Waits) -> None:
        for op in region.body:
            known = self._op(op, count, control)
            name = op.out().name
            length = self.facts.get(f"len({name})")
            if length is not None:
                known = replace(known, size=_with_length(known.size, length))
            self.known[name] = known

    def _op(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        match op.kind:
            case "call" | "invoke":
                return self._call(op, count, control)
            case "map":
                return self._map(op, count, control)
            case "filter":
                return self._filter(op, count, control)
            case "if":
                return self._if(op, count, control)
            case "loop":
                return self._loop(op, count, control)
        operands = [self.known[value.name] for value in op.operands]
        size = combine(
            lambda *sizes: _structural(op, sizes), *(k.size for k in operands), worst=largest
        )
        return _Known(size, both(*(k.waits.whole() for k in operands)))

    def _call(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        task = self.tasks[str(op.symbol)]
        name = op.out().name
        configs = self.configured[name]
        arguments = [self.known[value.name] for value in op.operands]
        names = [param.name for param in task.params]
        asked = task.answers or (task.name,)
        expected = tuple(self.facts.get(f"tokens({name})") for name in asked)

        sizes: Varying[Mapping[str, Size]] = combine(
            lambda *found: parameters(task, dict(zip(names, found, strict=True))),
            *(argument.size for argument in arguments),
            worst=_largest_parameters,
        )
        length = self.facts.get(f"len({name})")
        outputs = {
            case: tuple(
                _as_long(result_size(task, config, params, expected), length) for config in configs
            )
            for case, params in sizes.items()
        }
        classes = _classes(outputs, len(configs))
        waits = both(control, *(argument.waits.whole() for argument in arguments))
        if task.effect:
            count = combine(
                lambda c: Count(1.0, c.parallel * c.sequential, c.share), count, worst=_most
            )
            waits = both(waits, after(*self.last_effects))
            self.last_effects = (name,)
        self.steps.append(
            StepWork(op, task, configs, sizes, count, outputs, classes, expected, waits)
        )
        size = depend(outputs, name, classes, largest)
        return _Known(size, element(name) if self.depth else after(name))

    def _map(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        source, out = self._items(op, count, control)
        size = combine(
            lambda whole, item: Size(length=whole.length, item=item),
            source.size,
            out.size,
            worst=largest,
        )
        return _Known(size, as_list(both(out.waits, source.waits), nested=self.depth > 0))

    def _filter(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        """Ask the condition of every item; `expect len(…)` says how many go on."""
        source, out = self._items(op, count, control)
        return _Known(source.size, as_list(both(out.waits, source.waits), nested=self.depth > 0))

    def _items(self, op: Op, count: Varying[Count], control: Waits) -> tuple[_Known, _Known]:
        """Walk the region of a `map` or `filter`; return its list and what it yields."""
        source = self.known[op.operands[0].name]
        expected = self.facts.get(f"len({op.out().name})") if op.kind == "map" else None
        if expected is not None:
            source = replace(source, size=_with_length(source.size, expected))
        region = op.regions[0]
        item = combine(lambda size: size.item or Size(), source.size, worst=largest)
        self.known[region.args[0].name] = _Known(item, source.waits.items())
        repeated = combine(
            lambda c, size: replace(c, parallel=c.parallel * size.length),
            count,
            source.size,
            worst=_most,
        )
        self.depth += 1
        self._region(region, repeated, control)
        self.depth -= 1
        return source, self.known[region.terminator.operands[0].name]

    def _if(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        chosen = both(control, self.known[op.operands[0].name].waits.whole())
        likely, ahead = op.number("likely", math.nan), op.flag("speculative")
        shares = (1.0, 1.0) if ahead or math.isnan(likely) else (likely, 1.0 - likely)
        for region, share in zip(op.regions, shares, strict=True):
            self._region(region, _made(count, share), control if ahead else chosen)
        yields = [self.known[r.terminator.operands[0].name] for r in op.regions]
        size = combine(largest, *(k.size for k in yields), worst=largest)
        return _Known(size, both(chosen, *(k.waits for k in yields)))

    def _loop(self, op: Op, count: Varying[Count], control: Waits) -> _Known:
        region, limit = op.regions[0], op.attr("limit")
        rounds = float(limit) if isinstance(limit, int) else 1.0
        share = op.number("rounds", rounds) / rounds
        for argument, first in zip(region.args, op.operands, strict=True):
            self.known[argument.name] = self._carried(argument.type, self.known[first.name])
        again = combine(
            lambda c: replace(c, sequential=c.sequential * rounds).of(share), count, worst=_most
        )
        self._region(region, again, control)
        return self.known[region.terminator.operands[0].name]

    def _carried(self, kind: Type, first: _Known) -> _Known:
        """What a loop carries is, after the first round, as big as its type usually is."""
        usual = default_size(kind)
        size = combine(lambda size: largest(size, usual), first.size, worst=largest)
        return _Known(size, first.waits)


def _classes(outputs: Varying[tuple[Size, ...]], configs: int) -> tuple[int, ...]:
    """Number the configurations by what they put out; equal within 5 % in every case is equal."""
    numbers: dict[tuple[Size, ...], int] = {}
    found = []
    for index in range(configs):
        signature = tuple(_coarse(sizes[index]) for sizes in outputs.values())
        found.append(numbers.setdefault(signature, len(numbers)))
    return tuple(found)


def _coarse(size: Size) -> Size:
    return Size(
        tokens=_two_digits(size.total("tokens")),
        duration=_two_digits(size.total("duration")),
        pixels=_two_digits(size.total("pixels")),
        images=_two_digits(size.total("images")),
        length=_two_digits(size.length),
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _with_length(size: Varying[Size], length: float) -> dict[Case, Size]:
    return combine(lambda s: _as_long(s, length), size, worst=largest)


def _as_long(size: Size, length: float | None) -> Size:
    """Return a list's size with the length its author expects, where he said."""
    if length is None or size.item is None:
        return size
    return size.with_fact("len", length)


def _made(count: Varying[Count], share: float) -> Varying[Count]:
    """Return the count where so much of it is made."""
    return combine(lambda c: c.of(share), count, worst=_most)


def _most(a: Count, b: Count) -> Count:
    return a if a.calls >= b.calls else b


def _largest_parameters(a: Mapping[str, Size], b: Mapping[str, Size]) -> Mapping[str, Size]:
    return {name: largest(size, b[name]) for name, size in a.items()}


def _structural(op: Op, sizes: tuple[Size, ...]) -> Size:
    """Return the size of the result of an operation without work."""
    match op.kind:
        case "const":
            text = op.attr("value")
            return Size(tokens=len(text) / 4.0 if isinstance(text, str) else 1.0)
        case "record":
            names = op.attr("fields", ())
            listed = [str(n) for n in names] if isinstance(names, tuple) else []
            return Size(fields=tuple(zip(listed, sizes, strict=True)))
        case "field":
            return sizes[0].field(str(op.attr("name"))) or default_size(op.out().type)
        case "list":
            return _listed(sizes)
        case "flatten":
            inner = sizes[0].item or Size()
            return Size(length=sizes[0].length * inner.length, item=inner.item or Size())
        case "majority":
            return sizes[0].item or default_size(op.out().type)
        case "coalesce":
            return largest(*sizes)
        case "add" if sizes[0].item is not None:
            item = largest(sizes[0].item, sizes[1].item or Size())
            return Size(length=sizes[0].length + sizes[1].length, item=item)
        case "add" | "join":
            return Size(tokens=sum(size.total("tokens") for size in sizes))
    return default_size(op.out().type)


def _listed(sizes: tuple[Size, ...]) -> Size:
    item = Size()
    for size in sizes:
        item = largest(item, size)
    return Size(length=float(len(sizes)), item=item)
