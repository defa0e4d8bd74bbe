"""Operations in the making: what takes the place of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...ir.diagnostics import Span
from ...ir.inference import result_type
from ...ir.ops import Attr, Op, Region, Symbol, Value, attributes
from ...ir.types import FLOAT, INT, Type
from ...ir.workflow import Task
from ..rewrite import FreshNames


@dataclass
class Sketch:
    """Collects operations, each with the places and under the name of the call they stand for."""

    base: str
    locs: tuple[Span, ...]
    names: FreshNames
    ops: list[Op] = field(default_factory=list)

    def inner(self) -> Sketch:
        """Return an empty sketch, for a region of an operation of this one."""
        return Sketch(self.base, self.locs, self.names)

    def value(self, name: str, kind: Type) -> Value:
        """Return a new value; `name` says what it is of the call's."""
        return self.names.value(f"{self.base}_{name}", kind)

    def add(
        self,
        kind: str,
        operands: Sequence[Value],
        name: str,
        *,
        attrs: Mapping[str, Attr] | None = None,
        regions: tuple[Region, ...] = (),
        result: Value | None = None,
    ) -> Value:
        """Append an operation and return its result: `result`, or a new value of what it gives.

        ValueError where its operands do not fit it.
        """
        op = Op(kind, tuple(operands), None, None, attributes(attrs or {}), regions, self.locs)
        if result is None:
            found = result_type(op)
            if isinstance(found, str):
                raise ValueError(f"`{kind}`: {found}")
            result = self.value(name, found)
        self.ops.append(replace(op, result=result))
        return result

    def number(self, value: float, name: str) -> Value:
        """Append a constant; a whole number is an Int."""
        kind = INT if isinstance(value, int) else FLOAT
        return self.add("const", (), name, attrs={"value": value}, result=self.value(name, kind))

    def call(
        self,
        task: Task,
        operands: Sequence[Value],
        name: str,
        attrs: Mapping[str, Attr],
        result: Value | None = None,
    ) -> Value:
        """Append a call of a task and return its result."""
        result = result or self.value(name, task.result)
        self.ops.append(
            Op("call", tuple(operands), result, Symbol(task.name), attributes(attrs), (), self.locs)
        )
        return result

    def region(self, args: Sequence[Value], *yields: Value) -> Region:
        """Return the operations as a region that yields these values."""
        return Region(tuple(args), (*self.ops, Op("yield", yields, locs=self.locs)))
