"""What the prompts of a workflow share: how often each beginning is read, if it is kept once read.

The prompts of all calls make a tree: two calls share what comes before the first section in which
their texts, or the values in them, differ. A server that keeps what it has read (vLLM's automatic
prefix caching) computes each branch once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...ir.ops import Op, Region, Value
from ...ir.template import Placeholder, parse_template
from ...ir.workflow import Module, Task, Workflow
from ...targets.sizes import CHARACTERS_PER_TOKEN, LIST_LENGTH, Size, default_size
from ..configurations import IMAGE_TOKENS
from ..rewrite import TraitsOf, defined, used
from .sections import Section


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value: the loops that it changes with, its size, when it is defined.

    `loops` are the lengths of the enclosing loops from the outermost to the innermost that it
    depends on; `order` counts definitions.
    """

    loops: tuple[float, ...]
    size: Size
    order: int

    @property
    def distinct(self) -> float:
        """How many values it takes in one run."""
        return _product(self.loops)


@dataclass(frozen=True, slots=True)
class Site:
    """A call of a language model where it stands; `calls` is how often a run makes it."""

    op: Op
    task: Task
    arguments: Mapping[str, Known]
    calls: float

    def distinct(self, section: Section) -> float:
        """Return how many texts a section becomes in one run."""
        found = (self.arguments[p.name].distinct for p in section.placeholders)
        return min(self.calls, max(found, default=1.0))

    def tokens(self, section: Section) -> float:
        """Return the expected length of a section that is filled in."""
        return sum(self._tokens(part) for part in _parts(section.text))

    def _tokens(self, part: str | Placeholder) -> float:
        if isinstance(part, str):
            return len(part) / CHARACTERS_PER_TOKEN
        size: Size | None = self.arguments[part.name].size
        for name in part.path[1:]:
            size = size.field(name) if size is not None else None
        if size is None:
            return 0.0
        return size.total("tokens") + IMAGE_TOKENS * size.total("images")

    def key(self, section: Section) -> Hashable:
        """Return what is equal for sections of two calls that become the same text."""
        values = dict(zip((p.name for p in self.task.params), self.op.operands, strict=True))
        return tuple(
            part if isinstance(part, str) else (values[part.name].name, part.path[1:])
            for part in _parts(section.text)
        )

    @property
    def system(self) -> Section | None:
        """The system text, which comes before the prompt."""
        text = self.task.system
        if text is None:
            return None
        placeholders = tuple(p for p in _parts(text) if isinstance(p, Placeholder))
        return Section(text, placeholders, data=False)

    @property
    def server(self) -> Hashable:
        """What calls must have in common to read one cache: their candidates and system text."""
        filled = None if (system := self.system) is None else self.key(system)
        pins = tuple(pair for pair in self.op.attrs if pair[0].startswith("pin."))
        return (self.op.attr("candidates", pins), self.task.interface, filled)


@lru_cache(maxsize=4096)
def _parts(text: str) -> tuple[str | Placeholder, ...]:
    return parse_template(text)


def sites_of(module: Module) -> tuple[Site, ...]:
    """Return the calls of all tasks that have a prompt, in program order."""
    traits = TraitsOf(module)
    return tuple(site for w in module.workflows for site in _Walk(module, w, traits).run())


def computed_tokens(sites: Sequence[Site], order: Mapping[str, Sequence[Section]]) -> float:
    """Return the prompt tokens that a run computes if every common beginning is computed once.

    `order` are the sections of each task's prompt. The cost of a branch of the tree is its tokens
    times how many different ones a run meets, which is as many as its most varying section takes.
    """
    branches: dict[Hashable, float] = {}
    for site in sites:
        path: tuple[Hashable, ...] = (site.server,)
        met = 1.0 if (system := site.system) is None else site.distinct(system)
        for section in order[site.task.name]:
            path = (*path, site.key(section))
            met = max(met, site.distinct(section))
            branches[path] = max(branches.get(path, 0.0), met * site.tokens(section))
    return sum(branches.values())


class _Walk:
    """One walk over a workflow that learns what its values change with."""

    def __init__(self, module: Module, workflow: Workflow, traits: TraitsOf) -> None:
        self._workflow = workflow
        self._tasks = {task.name: task for task in module.tasks}
        self._traits = traits
        self._facts = {e.fact: e.value for e in workflow.expectations}
        self._known: dict[str, Known] = {}

    def run(self) -> Iterator[Site]:
        for value in self._workflow.params:
            self._learn(value, (), self._expected(value))
        yield from self._region(self._workflow.body, ())

    def _learn(self, value: Value, loops: tuple[float, ...], size: Size) -> None:
        self._known[value.name] = Known(loops, size, len(self._known))

    def _expected(self, value: Value) -> Size:
        size = default_size(value.type)
        for fact, amount in self._facts.items():
            root, _, path = fact.partition(".")
            if root == value.name and path:
                size = size.with_fact(path, amount)
        return size

    def _region(self, region: Region, loops: tuple[float, ...]) -> Iterator[Site]:
        for op in region.body:
            for nested in op.regions:
                inner = loops
                if op.kind in ("map", "filter", "loop"):
                    inner = (*loops, self._rounds(op))
                for argument in nested.args:
                    self._learn(argument, inner, self._item(op, argument))
                yield from self._region(nested, inner)
            if op.symbol is not None:
                task = self._tasks.get(op.symbol)
                if task is not None and task.prompt is not None:
                    yield self._site(op, task, loops)
            self._learn(op.out(), self._depends(op, loops), self._size(op))

    def _site(self, op: Op, task: Task, loops: tuple[float, ...]) -> Site:
        arguments = {
            param.name: self._known[value.name]
            for param, value in zip(task.params, op.operands, strict=True)
        }
        return Site(op, task, arguments, _product(loops))

    def _depends(self, op: Op, loops: tuple[float, ...]) -> tuple[float, ...]:
        """Return the loops that a result changes with: those of what it is made from."""
        if not self._traits(op).movable:
            return loops  # another one each time
        inside = {name for region in op.regions for name in defined(region)}
        read = {value.name for value in used(op)} - inside
        return max((self._known[name].loops for name in read), key=len, default=())

    def _rounds(self, op: Op) -> float:
        if op.kind == "loop":
            limit = op.attr("limit")
            return float(limit) if isinstance(limit, int) else 1.0
        source = op.operands[0]
        size = self._known[source.name].size
        expected = self._facts.get(f"len({op.out().name})", self._facts.get(f"len({source.name})"))
        return max(1.0, expected or size.length or LIST_LENGTH)

    def _item(self, op: Op, argument: Value) -> Size:
        if op.kind in ("map", "filter"):
            return self._known[op.operands[0].name].size.item or default_size(argument.type)
        return default_size(argument.type)

    def _size(self, op: Op) -> Size:
        if op.kind == "field":
            part = self._known[op.operands[0].name].size.field(str(op.attr("name")))
            return part or default_size(op.out().type)
        if op.kind == "const":
            text = op.attr("value")
            return Size(tokens=len(text) / CHARACTERS_PER_TOKEN if isinstance(text, str) else 1.0)
        return default_size(op.out().type)


def _product(lengths: tuple[float, ...]) -> float:
    found = 1.0
    for length in lengths:
        found *= length
    return found
