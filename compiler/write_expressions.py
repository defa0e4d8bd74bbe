"""From types, expressions and blocks to documents that can be laid out, for the formatter."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from ..ir.diagnostics import Span
from . import ast
from .layout import Doc, Hard, IfBroken, Line, Remark, Run, Verbatim, concat, group, indent
from .remarks import Place, Remarks, Row, end, start

_QUANTITY = re.compile(r"(-?)(?:\s|//[^\n]*\n)*(\$?)[ \t]*([0-9.]+)")
_BEFORE_WITH = re.compile(r"(?:[\s(),]|//[^\n]*)*")
_LEVELS = {"??": 1, "or": 2, "and": 3, "+": 5, "-": 5, "*": 6, "/": 6}
_COMPARISON = 4


class Writer:
    """Writes what stands inside declarations; literals are copied from the source."""

    def __init__(self, text: str, remarks: Remarks) -> None:
        """Write parts of a program given its text and its comments."""
        self._text = text
        self._remarks = remarks
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    # ---- source text

    def _offset(self, place: Place) -> int:
        line, column = place
        return self._line_starts[line - 1] + column - 1

    def source(self, span: Span) -> str:
        """Return a token as it is written."""
        return self._text[self._offset(start(span)) : self._offset(end(span))]

    def literal(self, node: ast.Literal) -> Doc:
        """Write a literal; a string of several lines moves with the code around it."""
        text = self.source(node.span)
        if not node.long or not isinstance(node.value, str) or "\n" not in text:
            return text
        *lines, last = node.value.split("\n")
        return Verbatim(('"""', *lines, f'{last}"""'))

    def quantity(self, node: ast.Quantity) -> str:
        """Write a quantity with a blank before its unit."""
        match = _QUANTITY.match(self._text, self._offset(start(node.span)))
        number = "".join(match.groups()) if match else str(node.value)
        return number if node.unit in ("", "$") else f"{number} {node.unit}"

    # ---- sequences

    def stack(self, rows: Sequence[Row], docs: Sequence[Doc]) -> Doc:
        """Write rows below each other."""
        parts: list[Doc] = []
        for row in rows:
            if parts:
                parts.append(Hard(blank=row.blank_before))
            if row.part is None:
                parts.append(Remark(row.remark))
                continue
            parts.append(docs[row.part])
            if row.remark:
                parts.append(Remark(f"  {row.remark}"))
        return concat(*parts)

    def listed(
        self, signs: str, spans: Sequence[Span], docs: Sequence[Doc], after: Place, before: Place
    ) -> Doc:
        """Write a list between two signs: in one line, or one part a line with `,` after each."""
        rows = self._remarks.rows(spans, after, before)
        if not rows:
            return signs
        edge = Line(" " if signs == "{}" else "")
        inner: list[Doc] = []
        for row in rows:
            inner.append(Line() if inner else edge)
            if row.part is None:
                inner += [Remark(row.remark)]
                continue
            is_last = row.part == len(spans) - 1
            inner += [docs[row.part], IfBroken(",") if is_last else ","]
            if row.remark:
                inner.append(Remark(f"  {row.remark}"))
        return group(signs[0], indent(*inner), edge, signs[1])

    # ---- types

    def type(self, node: ast.TypeExpr) -> Doc:
        """Write a type."""
        match node:
            case ast.TypeName(name):
                return name
            case ast.TypeList(item):
                return concat("[", self.type(item), "]")
            case ast.TypeOption(item):
                return concat(self.type(item), "?")
            case ast.TypeEnum(values):
                first, *rest = [self.source(value.span) for value in values]
                alternatives = [part for text in rest for part in (Line(), f"| {text}")]
                return group(first, indent(*alternatives))
            case ast.TypeRecord(fields, span):
                docs = [concat(name.text, ": ", self.type(kind)) for name, kind in fields]
                spans = [name.span.to(kind.span) for name, kind in fields]
                return self.listed("{}", spans, docs, start(span), end(span))

    # ---- statements

    def block(self, node: ast.Block, *, is_body: bool = False) -> Doc:
        """Write a block; a lone `yield` may stay in one line with what surrounds it."""
        spans = [statement.span for statement in node.statements]
        values = [self._statement(statement) for statement in node.statements]
        rows = self._remarks.rows(spans, start(node.span), end(node.span))
        if not rows:
            return "{}"
        lone = len(rows) == 1 and not rows[0].remark and not is_body
        if lone and isinstance(node.statements[0], ast.Yield):
            return concat("{", indent(Line(), values[0]), Line(), "}")
        docs = self._bound(node.statements, values, rows)
        return concat("{", indent(Hard(), self.stack(rows, docs)), Hard(), "}")

    def _bound(
        self, statements: Sequence[ast.Statement], values: Sequence[Doc], rows: Sequence[Row]
    ) -> list[Doc]:
        """Put the names before bound values, `=` aligned in runs without gaps."""
        docs = list(values)
        run = Run()
        for row in rows:
            statement = None if row.part is None else statements[row.part]
            if row.part is None or not isinstance(statement, ast.Bind):
                run = Run()
                continue
            if row.blank_before:
                run = Run()
            name, value = statement.name.text, values[row.part]
            docs[row.part] = concat(name, run.add(name, value), " = ", value)
        return docs

    def _statement(self, node: ast.Statement) -> Doc:
        match node:
            case ast.Bind(_, value):
                return self.expression(value)
            case ast.CallStatement(call):
                return self.expression(call)
            case ast.Return(value):
                return concat("return ", self.expression(value))
            case ast.Yield(value, until):
                result = concat("yield ", self.expression(value))
                if until is None:
                    return result
                return group(result, indent(Line(), "until ", self.expression(until)))

    # ---- expressions

    def expression(self, node: ast.Expr) -> Doc:
        """Write an expression."""
        match node:
            case ast.Literal():
                return self.literal(node)
            case ast.Ref(name):
                return name
            case ast.Call():
                return self._call(node)
            case ast.Field(base, name):
                return concat(self.expression(base), ".", name.text)
            case ast.ListExpr(items, span):
                docs = [self.expression(item) for item in items]
                return self.listed("[]", [i.span for i in items], docs, start(span), end(span))
            case ast.RecordExpr():
                return self._record(node)
            case ast.Unary(op, operand):
                return concat("not " if op == "not" else op, self.expression(operand))
            case ast.Binary():
                return self._chain(node)
            case ast.Paren(inner):
                edge = Line("")
                return group("(", indent(edge, self.expression(inner)), edge, ")")
            case ast.For():
                return self._for(node)
            case ast.Repeat():
                return self._repeat(node)
            case ast.If():
                return self._if(node)

    def _call(self, node: ast.Call) -> Doc:
        callee = f"optional {node.callee.text}" if node.optional else node.callee.text
        pins = [self._pin(pin) for pin in node.pins]
        docs = [self.expression(arg) for arg in node.args]
        close = self._place_of_with(node) if pins else end(node.span)
        args = self.listed("()", [a.span for a in node.args], docs, end(node.callee.span), close)
        if not pins:
            return concat(callee, args)
        spans = [pin.span for pin in node.pins]
        return concat(callee, args, " with ", self.listed("{}", spans, pins, close, end(node.span)))

    def _place_of_with(self, node: ast.Call) -> Place:
        last = node.args[-1].span if node.args else node.callee.span
        gap = _BEFORE_WITH.match(self._text, self._offset(end(last)))
        offset = gap.end() if gap else 0
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def _pin(self, node: ast.Pin) -> Doc:
        sign = ":" if node.op == ":" else f" {node.op}"
        match node.value:
            case ast.Quantity():
                value = self.quantity(node.value)
            case ast.Literal(_, span):
                value = self.source(span)
            case ast.Name(text):
                value = text
        return f"{node.name.text}{sign} {value}"

    def _record(self, node: ast.RecordExpr) -> Doc:
        spans: list[Span] = []
        docs: list[Doc] = []
        for name, value in node.fields:
            spans.append(name.span if value is None else name.span.to(value.span))
            written = None if value is None else self.expression(value)
            docs.append(name.text if written is None else concat(name.text, ": ", written))
        return self.listed("{}", spans, docs, start(node.span), end(node.span))

    def _chain(self, node: ast.Binary) -> Doc:
        """Write operators of one level that follow each other as one group."""
        level = _LEVELS.get(node.op, _COMPARISON)
        operands: list[tuple[str, ast.Expr]] = []
        first: ast.Expr = node
        while isinstance(first, ast.Binary) and _LEVELS.get(first.op, _COMPARISON) == level:
            operands.append((first.op, first.right))
            first = first.left
        parts: list[Doc] = []
        for op, operand in reversed(operands):
            parts += [Line(), f"{op} ", self.expression(operand)]
        return group(self.expression(first), indent(*parts))

    def _for(self, node: ast.For) -> Doc:
        head: Doc = concat("for ", node.item.text, " in ", self.expression(node.source))
        if node.where is not None:
            where = concat(Line(), "where ", self.expression(node.where))
            head = group(head, indent(indent(where)))  # further in than the block
        return group(head, " ", self.block(node.body))

    def _repeat(self, node: ast.Repeat) -> Doc:
        head: list[Doc] = ["repeat up to ", self.source(node.limit.span)]
        for index, (name, value) in enumerate(node.carried):
            head += ["," if index else " with", Line(), name.text, " = ", self.expression(value)]
        return group(group(head[0], indent(indent(*head[1:]))), " ", self.block(node.body))

    def _if(self, node: ast.If) -> Doc:
        parts: list[Doc] = []
        branch: ast.If | ast.Block = node
        while isinstance(branch, ast.If):
            condition = indent(self.expression(branch.condition))
            parts += ["if ", condition, " ", self.block(branch.then), " else "]
            branch = branch.orelse
        return group(*parts, self.block(branch))
