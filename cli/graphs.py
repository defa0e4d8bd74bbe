"""A workflow as Graphviz or Mermaid text: regions are nested boxes, edges are data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..ir.ops import Op, Region, Value
from ..ir.workflow import Workflow
from .drawing import heading
from .expressions import Expressions, works

_INDENT = "  "
_DOT = {'"': '\\"', "\\": "\\\\", "\n": " "}
_MERMAID = {'"': "#quot;", "\n": " ", "<": "#lt;", ">": "#gt;", "`": "#96;"}
Note = Callable[[Op], list[str]]


def graphviz(workflow: Workflow, note: Note) -> str:
    """Return the workflow as a `digraph`; `note` gives the lines below a call's name."""
    return "\n".join(_Graph(workflow, note, _Dot()).lines()) + "\n"


def mermaid(workflow: Workflow, note: Note) -> str:
    """Return the workflow as a Mermaid `flowchart`; `note` gives the lines below a call's name."""
    return "\n".join(_Graph(workflow, note, _Mermaid()).lines()) + "\n"


class _Dot:
    """The words of Graphviz."""

    head = 'digraph {\n  rankdir = TB; compound = true; node [shape = box, fontname = "sans"]'
    tail = "}"
    end = "}"

    def node(self, name: str, lines: list[str]) -> str:
        text = "\\n".join(_escaped(line, _DOT) for line in lines)
        return f'{name} [label = "{text}"]'

    def group(self, name: str, title: str) -> str:
        title = _escaped(title, _DOT)
        return f'subgraph cluster_{name} {{ label = "{title}"'

    def edge(self, source: str, target: str) -> str:
        return f"{source} -> {target}"


class _Mermaid:
    """The words of Mermaid."""

    head = "flowchart TB"
    tail = ""
    end = "end"

    def node(self, name: str, lines: list[str]) -> str:
        return f'{name}["{"<br/>".join(_escaped(line, _MERMAID) for line in lines)}"]'

    def group(self, name: str, title: str) -> str:
        return f'subgraph group_{name}["{_escaped(title, _MERMAID)}"]'

    def edge(self, source: str, target: str) -> str:
        return f"{source} --> {target}"


@dataclass
class _Graph:
    workflow: Workflow
    note: Note
    words: _Dot | _Mermaid
    # a group is no node: edges go to what is drawn in its stead
    ends: dict[str, list[str]] = field(default_factory=dict)
    edges: dict[str, None] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        self.expressions = Expressions.of(self.workflow)
        yield self.words.head
        for value in self.workflow.params:
            yield _INDENT + self.node(value.name, [f"{value.name}: {value.type}"])
        yield from self.region(self.workflow.body, 1)
        yield _INDENT + self.node("return", ["return"])
        for value in self.workflow.body.terminator.operands:
            self.connect(self.sources(value), "return")
        yield from (_INDENT + edge for edge in self.edges)
        if self.words.tail:
            yield self.words.tail

    def node(self, name: str, lines: list[str]) -> str:
        self.ends[name] = [f"v_{name.replace('.', '_')}"]
        return self.words.node(self.ends[name][0], lines)

    def region(self, region: Region, depth: int) -> Iterator[str]:
        for op in region.body:
            if not works(op):
                continue
            name = op.out().name
            if not op.regions:
                lines = [name, self.expressions.call(op), *self.note(op)]
                yield _INDENT * depth + self.node(name, lines)
                for operand in op.operands:
                    self.connect(self.sources(operand), name)
                continue
            pad = _INDENT * depth
            title = heading(op, self.expressions)
            yield pad + self.words.group(name.replace(".", "_"), title)
            yield from self.group(op, depth + 1)
            yield pad + self.words.end

    def group(self, op: Op, depth: int) -> Iterator[str]:
        """Draw an operation with regions: its arguments stand for its operands."""
        for region in op.regions:
            for argument, operand in zip(region.args, op.operands, strict=False):
                self.ends[argument.name] = list(self.sources(operand))
        for region in op.regions:
            yield from self.region(region, depth)
        results = (v for region in op.regions for v in region.terminator.operands)
        ends = dict.fromkeys(end for value in results for end in self.sources(value))
        self.ends[op.out().name] = list(ends)

    def sources(self, value: Value) -> Iterator[str]:
        op = self.expressions.defined.get(value.name)
        names = [value.name] if op is None or works(op) else list(self.expressions.needs(op))
        for name in names:
            yield from self.ends.get(name, ())

    def connect(self, sources: Iterator[str], target: str) -> None:
        for source in sources:
            self.edges[self.words.edge(source, self.ends[target][0])] = None


def _escaped(text: str, marks: dict[str, str]) -> str:
    return "".join(marks.get(c, c) for c in text)
