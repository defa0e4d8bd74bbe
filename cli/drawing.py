"""A workflow drawn with boxes: rows follow each other, boxes in one row are independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from ..ir.ops import Op, Region
from ..ir.workflow import Workflow
from .display import safe, shorten, width
from .expressions import Expressions, works

Block = list[str]  # lines of equal width
Note = Callable[[Op], list[str]]  # what stands in the box of a call, below the call itself

_NARROWEST = 24


def draw(workflow: Workflow, note: Note, columns: int) -> str:
    """Return a workflow as text at most so many columns wide.

    `note` gives the lines shown in a call's box below the call.
    """
    drawing = _Drawing(Expressions.of(workflow), note)
    inputs = "   ".join(f"{p.name}: {p.type}" for p in workflow.params)
    blocks = [[shorten(inputs, columns)]] if inputs else []
    blocks += drawing.rows(workflow.body, columns)
    returned = drawing.expressions.text(workflow.body.terminator.operands[0])
    blocks.append([shorten(f"return {safe(returned)}", columns)])
    return "\n".join(line.rstrip() for line in _stack(blocks))


@dataclass(frozen=True)
class _Drawing:
    expressions: Expressions
    note: Note

    def rows(self, region: Region, columns: int) -> Iterator[Block]:
        """Yield the region's rows; a row that is too wide goes on in the next line."""
        for layer in layers(region, self.expressions):
            room = max(columns, _NARROWEST)
            boxes = [self.box(op, room) for op in layer]
            row: Block = []
            for box in boxes:
                if row and _wide(row) + 2 + _wide(box) > room:
                    yield row
                    row = []
                row = _beside(row, box) if row else box
            yield row

    def box(self, op: Op, columns: int) -> Block:
        if op.kind in ("call", "invoke"):
            said = [self.expressions.call(op), *self.note(op)]
            return _frame(op.out().name, [safe(line) for line in said], columns)
        lines: Block = []
        for region, title in zip(op.regions, _parts(op), strict=True):
            room = columns - 4 - (4 if title else 0)
            inner = _stack([*self.rows(region, room), [self.ending(op, region)]])
            lines += _frame(title, inner, columns - 4) if title else inner
        return _frame(heading(op, self.expressions), lines, columns, double=True)

    def ending(self, op: Op, region: Region) -> str:
        values = [safe(self.expressions.text(value)) for value in region.terminator.operands]
        return f"yield {values[0]}" + (f" until {values[1]}" if op.kind == "loop" else "")


def _parts(op: Op) -> tuple[str, ...]:
    return ("then", "else") if op.kind == "if" else ("",)


def heading(op: Op, expressions: Expressions) -> str:
    """Return the title of an operation with regions: `notes = for scene in scenes`."""
    over = expressions.text(op.operands[0]) if op.operands else ""
    name = op.out().name
    match op.kind:
        case "map":
            return f"{name} = for {op.regions[0].args[0].name} in {over}"
        case "filter":
            return f"{name} = {over} where"
        case "loop":
            return f"{name} = repeat up to {op.attr('limit')}"
    return f"{name} = if {over}"


def layers(region: Region, expressions: Expressions) -> list[list[Op]]:
    """Return the work of a region in rows: each operation right below the last thing it needs."""
    depth: dict[str, int] = {}
    rows: list[list[Op]] = []
    for op in region.body:
        if not works(op):
            continue
        level = 1 + max((depth.get(name, -1) for name in expressions.needs(op)), default=-1)
        depth[op.out().name] = level
        if level == len(rows):
            rows.append([])
        rows[level].append(op)
    return rows


def _frame(title: str, lines: Block, columns: int, *, double: bool = False) -> Block:
    """Put a frame with a title around lines that are cut to fit."""
    room = max(columns, _NARROWEST) - 4
    kept = [line if _seen(line) <= room else shorten(click.unstyle(line), room) for line in lines]
    title = shorten(safe(title), room - 2)
    inner = max([width(title) + 2, *map(_seen, kept)])
    rule = "═" if double else "─"
    corners = "╔╗╚╝║" if double else "╭╮╰╯│"
    name = click.style(title, bold=True)
    top = f"{corners[0]}{rule} {name} {rule * (inner - width(title) - 1)}{corners[1]}"
    body = [f"{corners[4]} {line}{' ' * (inner - _seen(line))} {corners[4]}" for line in kept]
    return [top, *body, f"{corners[2]}{rule * (inner + 2)}{corners[3]}"]


def _beside(left: Block, right: Block) -> Block:
    """Put two blocks next to each other, their tops level."""
    columns = _wide(left)
    height = max(len(left), len(right))
    rows = zip(
        left + [""] * (height - len(left)), right + [""] * (height - len(right)), strict=True
    )
    return [f"{a}{' ' * (columns - _seen(a))}  {b}" for a, b in rows]


def _stack(blocks: list[Block]) -> Block:
    """Put blocks below each other with an arrow between."""
    lines: Block = []
    for block in blocks:
        if lines:
            lines.append("    ▼")
        lines += block
    return lines


def _wide(block: Block) -> int:
    return max(map(_seen, block), default=0)


def _seen(line: str) -> int:
    return width(click.unstyle(line))
