"""Operations in the words of the source language: what a drawing or an explanation calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..ir.ops import Attr, Op, Region, Value
from ..ir.printer import attr_text
from ..ir.workflow import Workflow

_INFIX = {
    **{"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<"},
    **{"le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or", "coalesce": "??"},
}
_PREFIX = {"not": "not ", "neg": "-"}


@dataclass(frozen=True)
class Expressions:
    """The operations that define each value of a workflow, and so the values' source forms."""

    defined: Mapping[str, Op] = field(default_factory=dict)

    @classmethod
    def of(cls, workflow: Workflow) -> Expressions:
        """Collect the definitions of a workflow."""
        return cls({op.result.name: op for op in workflow.walk() if op.result is not None})

    def text(self, value: Value) -> str:
        """Return how a value reads: its name where work makes it, else the expression it is."""
        op = self.defined.get(value.name)
        if op is None or works(op):
            return value.name
        parts = [self.text(operand) for operand in op.operands]
        match op.kind:
            case "const":
                return attr_text(op.attr("value"))
            case "field":
                return f"{parts[0]}.{op.attr('name')}"
            case "list":
                return f"[{', '.join(parts)}]"
            case "record":
                return "{ " + ", ".join(_fields(op.attr("fields"), parts)) + " }"
            case "is_none":
                return f"{parts[0]} == none"
            case kind if kind in _INFIX:
                return f" {_INFIX[kind]} ".join(parts)
            case kind if kind in _PREFIX:
                return _PREFIX[kind] + parts[0]
            case "filter":
                kept = self.text(op.regions[0].terminator.operands[0])
                return f"{parts[0]} where {kept}"
            case "map":
                item = op.regions[0].args[0].name
                made = self.text(op.regions[0].terminator.operands[0])
                return f"for {item} in {parts[0]} yield {made}"
            case "len" | "flatten" | "join" | "majority" | "agreement":
                return f"{op.kind}({', '.join(parts)})"
        return value.name

    def call(self, op: Op) -> str:
        """Return a call as it could stand in the source: `transcribe(scene)`."""
        mark = "optional " if op.flag("optional") else ""
        return f"{mark}{op.symbol}({', '.join(map(self.text, op.operands))})"

    def needs(self, op: Op) -> Iterator[str]:
        """Yield the names of the work and parameters an operation's inputs come from."""
        yield from self._sources(_used(op))

    def _sources(self, values: Iterator[Value]) -> Iterator[str]:
        for value in values:
            op = self.defined.get(value.name)
            if op is None or works(op):
                yield value.name
            else:
                yield from self._sources(_used(op))


def works(op: Op) -> bool:
    """Tell whether an operation is, or holds, a call: what is not is mere plumbing."""
    return any(inner.kind in ("call", "invoke") for inner in op.walk())


def _used(op: Op) -> Iterator[Value]:
    """Yield an operation's operands, and what its regions take from outside."""
    yield from op.operands
    for region in op.regions:
        inside = set(_bound(region))
        for inner in (o for top in region.ops for o in top.walk()):
            yield from (v for v in inner.operands if v.name not in inside)


def _bound(region: Region) -> Iterator[str]:
    yield from (value.name for value in region.args)
    for op in region.ops:
        if op.result is not None:
            yield op.result.name
        for nested in op.regions:
            yield from _bound(nested)


def _fields(names: Attr, parts: list[str]) -> Iterator[str]:
    for name, part in zip(names if isinstance(names, tuple) else (), parts, strict=True):
        yield str(name) if name == part else f"{name}: {part}"
