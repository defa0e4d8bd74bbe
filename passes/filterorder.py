"""The order in which the conditions of a `where` are asked (`pushdown` says when not)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.diagnostics import CompileError
from ..ir.ops import Op, Region, Value
from ..ir.remarks import Reporter
from ..ir.workflow import Expectation, Module, Workflow
from .base import Context
from .formulate import variants
from .hoist import may_fail
from .rewrite import FreshNames, TraitsOf, copied, united, used

KEPT = 0.5  # the share of items that a condition keeps, where nothing says


def ordered(module: Module, context: Context, report: Reporter) -> Module:
    """Return the module with its conditions asked in the best order."""
    return module.with_workflow(_Orderer(module, context, report).run())


@dataclass(frozen=True, slots=True)
class _Asked:
    """One condition on an item: a region of a `filter` of its own, and where it comes from.

    `calls` are those that it makes, and those that the `for` before it makes for it alone.
    """

    region: Region
    op: Op
    calls: tuple[Op, ...]
    may_fail: bool


class _Orderer:
    def __init__(self, module: Module, context: Context, report: Reporter) -> None:
        self._module, self._context, self._report = module, context, report
        self._workflow = module.sole()
        self._traits = TraitsOf(module)
        self._names = FreshNames(self._workflow)
        self._reads = Counter(v.name for op in self._workflow.walk() for v in op.operands)
        self._facts = {e.fact: e.value for e in self._workflow.expectations}
        maps = (op for op in self._workflow.walk() if op.kind == "map")
        self._mapped = {op.out().name: op.operands[0].name for op in maps}
        self._seconds: Mapping[str, float] | None = None
        self._added: list[Expectation] = []

    def run(self) -> Workflow:
        body = self._region(self._workflow.body)
        expected = (*self._workflow.expectations, *self._added)
        return replace(self._workflow, body=body, expectations=expected)

    def _region(self, region: Region) -> Region:
        ops: list[Op] = []
        for op in region.ops:
            op = replace(op, regions=tuple(self._region(r) for r in op.regions))
            if op.kind == "filter":
                chain = self._chain(ops, op)
                new = self._reordered(chain, ops)
                if new is not None:
                    ops = [o for o in ops if o not in chain]
                    ops += new
                    continue
            ops.append(op)
        return replace(region, ops=tuple(ops))

    def _chain(self, before: Sequence[Op], op: Op) -> list[Op]:
        """Return the filters that end in this one, each read by the next alone."""
        chain = [op]
        while self._reads[chain[0].operands[0].name] == 1:
            source = next((o for o in before if o.result == chain[0].operands[0]), None)
            if source is None or source.kind != "filter" or source.attrs != op.attrs:
                break
            chain.insert(0, source)
        return chain

    def _reordered(self, chain: Sequence[Op], before: Sequence[Op]) -> list[Op] | None:
        """Return filters in a better order, None where there is none."""
        source = chain[0].operands[0]
        work = next((o for o in before if o.result == source and o.kind == "map"), None)
        if self._reads[source.name] != 1:
            work = None  # its calls are made for others, too
        asked = [condition for op in chain for condition in self._conditions(op, work)]
        order = self._best(asked)
        if not self._may_change(chain, asked, order) or order == list(range(len(asked))):
            return None
        self._report.did("ordering", "what drops most for its cost is asked first", *chain)
        filters: list[Op] = []
        items, locs = chain[0].operands, united(*(op.locs for op in chain))
        for number, index in enumerate(order):
            last = number == len(order) - 1
            base = chain[-1].out()
            result = base if last else self._names.value(base.name, base.type)
            region = asked[index].region
            new = replace(chain[-1], operands=items, result=result, regions=(region,), locs=locs)
            filters.append(new)
            self._reads[result.name] = self._reads[base.name] if last else 1
            items = (result,)
        self._expect(source, [asked[index] for index in order], filters)
        return filters

    def _expect(self, source: Value, asked: Sequence[_Asked], filters: Sequence[Op]) -> None:
        """Expect of lists in a new order what the author expects of the conditions asked so far.

        Of several conditions of one `where`, each keeps the same share.
        """
        length = self._length(source)
        together = Counter(condition.op.out().name for condition in asked)
        for condition, made in zip(asked, filters, strict=True):
            before, after = condition.op.operands[0], condition.op.out()
            if length is None or not self._length(before) or self._length(after) is None:
                return  # what comes after is at most as long, and nobody says how long
            length *= self._kept(condition.op) ** (1 / together[condition.op.out().name])
            fact = f"len({made.out().name})"
            if fact not in self._facts:
                self._facts[fact] = length
                self._added.append(Expectation(fact, length))

    def _length(self, items: Value) -> float | None:
        """Return how long the author expects a list to be; a `for` gives one as long as its own."""
        name = items.name
        while f"len({name})" not in self._facts and name in self._mapped:
            name = self._mapped[name]
        return self._facts.get(f"len({name})")

    def _may_change(
        self, chain: Sequence[Op], asked: Sequence[_Asked], order: Sequence[int]
    ) -> bool:
        """Tell whether an order may be taken, and say what keeps the best one from being it."""
        if len(asked) < 2:
            return False
        if not all(self._traits(op).movable for op in chain):
            self._report.refused("ordering", "a condition holds an effect or is sampled", *chain)
            return False
        ranks = self._ranks(asked)
        if order != sorted(order, key=lambda index: (ranks[index], index)):
            why = "a condition that may fail keeps its place: another may be its guard"
            self._report.refused("ordering", why, *chain)
        return True

    def _best(self, asked: Sequence[_Asked]) -> list[int]:
        """Return the order to ask in; what may fail stays behind what is before it."""
        ranks = self._ranks(asked)
        order: list[int] = []
        for index, condition in enumerate(asked):
            at = len(order)
            while at and not (condition.may_fail or asked[order[at - 1]].may_fail):
                if ranks[order[at - 1]] <= ranks[index]:
                    break
                at -= 1
            order.insert(at, index)
        return order

    def _ranks(self, asked: Sequence[_Asked]) -> list[float]:
        """Return cost over the share of items dropped; without calls it is next to nothing."""
        if sum(bool(condition.calls) for condition in asked) < 2:
            return [float(bool(condition.calls)) for condition in asked]
        seconds = self._costs()
        return [
            sum(seconds.get(call.out().name, 1.0) for call in condition.calls)
            / (1.0 - self._kept(condition.op))
            for condition in asked
        ]

    def _kept(self, op: Op) -> float:
        """Return the share of items that a filter keeps, by what the author expects."""
        before, after = self._length(op.operands[0]), self._length(op.out())
        if not before or after is None:
            return KEPT
        return min(after / before, 0.999)

    def _costs(self) -> Mapping[str, float]:
        """Return the seconds of each call where it is quickest; of a flow module, none."""
        if self._seconds is None:
            self._seconds = {}
            if self._module.level == "logical":
                self._seconds = dict(self._quickest())
        return self._seconds

    def _quickest(self) -> Iterator[tuple[str, float]]:
        try:
            steps, found = variants(self._module, self._context)
        except CompileError:
            return  # what cannot run here is told by `place`
        for step, ways in zip(steps, found, strict=True):
            latencies = [w.estimate.latency.p50 for w in ways if w.estimate is not None]
            if latencies:
                yield step.op.out().name, min(latencies)

    # ---- the conditions of one filter

    def _conditions(self, op: Op, work: Op | None) -> Iterator[_Asked]:
        """Yield the conditions that must all hold, each able to stand alone."""
        (region,) = op.regions
        parts = list(_conjuncts(region.ops, region.terminator.operands[0]))
        needed = [needed_for(ops, [value.name]) for ops, value in parts]
        calls = [[o for o in ops if self._traits(o).calls] for ops in needed]
        shared = Counter(o.out().name for found in calls for o in found)
        if len(parts) < 2 or any(n > 1 for n in shared.values()):
            yield self._asked(region, op, work)  # apart, each would make the call that they share
            return
        for (_, value), ops in zip(parts, needed, strict=True):
            (argument,) = region.args
            item = self._names.value(argument.name, argument.type)
            values = {argument.name: item}
            body = tuple(copied(o, values, self._names) for o in ops)
            stop = Op("yield", (values.get(value.name, value),), locs=region.terminator.locs)
            yield self._asked(Region((item,), (*body, stop)), op, work)

    def _asked(self, region: Region, op: Op, work: Op | None) -> _Asked:
        inside = list(_inside(region.ops))
        asked = [inner for inner in inside if inner.kind == "call"]
        if work is not None:
            body = work.regions[0]
            fields = fields_read(body, region)
            names = body.terminator.operands if fields is None else fields.values()
            made = needed_for(body.body, [value.name for value in names])
            asked += [inner for inner in _inside(made) if inner.kind == "call"]
        return _Asked(region, op, tuple(asked), any(may_fail(o) for o in inside if not o.regions))


def fields_read(body: Region, condition: Region) -> dict[str, Value] | None:
    """Return, for each projection of the item in a condition, the value of the body it takes.

    None where the condition needs the whole item.
    """
    (item,) = condition.args
    result = body.terminator.operands[0]
    record = next((op for op in body.body if op.result == result and op.kind == "record"), None)
    found: dict[str, Value] = {}
    for op in _inside(condition.ops):
        if item not in op.operands:
            continue
        names = record.attr("fields") if record is not None else None
        if record is None or op.kind != "field" or not isinstance(names, tuple):
            return None
        found[op.out().name] = record.operands[names.index(op.attr("name"))]
    return found


def needed_for(ops: Sequence[Op], names: Iterable[str]) -> list[Op]:
    """Return the operations that values come from, in order."""
    wanted, found = set(names), []
    for op in reversed(ops):
        if op.result is not None and op.result.name in wanted:
            found.append(op)
            wanted |= {read.name for read in used(op)}
    return found[::-1]


def _inside(ops: Iterable[Op]) -> Iterator[Op]:
    for op in ops:
        yield from op.walk()


def _conjuncts(ops: Sequence[Op], value: Value) -> Iterator[tuple[Sequence[Op], Value]]:
    """Yield the values whose conjunction a value is, with the operations that are visible there."""
    made = next((op for op in ops if op.result == value), None)
    if made is not None and made.kind == "and":
        for operand in made.operands:
            yield from _conjuncts(ops, operand)
    elif made is not None and made.kind == "if" and _is_false(made.regions[1]):
        yield from _conjuncts(ops, made.operands[0])
        then = made.regions[0]
        yield from _conjuncts((*ops, *then.body), then.terminator.operands[0])
    else:
        yield ops, value


def _is_false(region: Region) -> bool:
    (value,) = region.terminator.operands
    made = next((op for op in region.ops if op.result == value), None)
    return made is not None and made.kind == "const" and made.attr("value") is False
