"""The formatter: one layout for every program, comments kept (`mkb fmt`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import ast
from .layout import Doc, Hard, Line, concat, group, indent, render
from .parser import parse
from .remarks import BEGINNING, END, Remarks, Row, end, start
from .write_expressions import Writer

_MAY_STAND_CLOSE = (ast.Import, ast.TypeDecl, ast.TaskDecl)


def format_source(text: str, path: str) -> str:
    """Return the program in the canonical layout.

    Formatting again changes nothing, and the syntax tree stays the same but for its spans.
    Comments between the parts of a list, block or declaration stay there; those inside a part move
    in front of it. Raises CompileError when the text has syntax errors.
    """
    file = parse(text, path)
    remarks = Remarks(file.comments)
    writer = _Declarations(text, remarks)
    docs = [writer.declaration(declaration) for declaration in file.declarations]
    spans = [declaration.span for declaration in file.declarations]
    rows = remarks.rows(spans, BEGINNING, END, is_file=True)
    if not rows:
        return ""
    return render(writer.stack(_set_apart(rows, file.declarations), docs)) + "\n"


def _set_apart(rows: Sequence[Row], declarations: Sequence[ast.Declaration]) -> list[Row]:
    """Leave an empty line between declarations, but for those of a kind that stand together."""
    out: list[Row] = []
    gap_from = 0  # the first row after the declaration before
    last: ast.Declaration | None = None
    for row in rows:
        out.append(row)
        if row.part is None:
            continue
        this = declarations[row.part]
        together = type(last) is type(this) and isinstance(this, _MAY_STAND_CLOSE)
        apart = any(between.blank_before for between in out[gap_from:])
        if last is not None and not together and not apart:
            out[gap_from] = replace(out[gap_from], blank_before=True)
        last, gap_from = this, len(out)
    return out


class _Declarations(Writer):
    """Writes declarations."""

    def declaration(self, node: ast.Declaration) -> Doc:
        """Write a declaration without its documentation, which is a comment."""
        match node:
            case ast.Import(path):
                return f"import {self.source(path.span)}"
            case ast.TypeDecl(name, kind):
                return concat(f"type {name.text} = ", self.type(kind))
            case ast.TaskDecl():
                return self._task(node)
            case ast.WorkflowDecl():
                return self._workflow(node)

    def _task(self, node: ast.TaskDecl) -> Doc:
        head = self._signature("effect task " if node.effect else "task ", node)
        items: list[tuple[str, ast.Literal | ast.Name]] = [
            *(("", item) for item in node.descriptions),
            *(("system ", item) for item in node.systems),
            *(("prompt ", item) for item in node.prompts),
            *(("using ", item) for item in node.usings),
        ]
        items.sort(key=lambda item: start(item[1].span))
        docs = [
            concat(word, item.text if isinstance(item, ast.Name) else self.literal(item))
            for word, item in items
        ]
        spans = [item.span for _, item in items]
        if not items:
            return head
        rows = self._remarks.rows(spans, end(node.result.span), end(node.span))
        if len(rows) > len(items) or any(row.remark for row in rows):
            return concat(head, indent(Hard(), self.stack(rows, docs)))
        return group(head, indent(*(part for doc in docs for part in (Line(), doc))))

    def _workflow(self, node: ast.WorkflowDecl) -> Doc:
        head = self._signature("workflow ", node)
        docs = [self._clause(clause) for clause in node.clauses]
        spans = [clause.span for clause in node.clauses]
        if node.description is not None:
            docs.insert(0, self.source(node.description.span))
            spans.insert(0, node.description.span)
        body = self.block(node.body, is_body=True)
        rows = self._remarks.rows(spans, end(node.result.span), start(node.body.span))
        if not rows:
            return concat(head, " ", body)
        return concat(head, indent(Hard(), self.stack(rows, docs)), Hard(), body)

    def _signature(self, word: str, node: ast.TaskDecl | ast.WorkflowDecl) -> Doc:
        docs = [concat(f"{param.name.text}: ", self.type(param.type)) for param in node.params]
        result = self.type(node.result)
        spans = [param.span for param in node.params]
        params = self.listed("()", spans, docs, end(node.name.span), start(node.result.span))
        return concat(word, node.name.text, params, " -> ", result)

    def _clause(self, node: ast.Clause) -> Doc:
        match node:
            case ast.Minimize(metrics, maximize):
                word = "maximize " if maximize else "minimize "
                return word + " then ".join(metric.text for metric in metrics)
            case ast.Require(percentile, metric, op, value):
                which = "" if percentile is None else f"{percentile.text} "
                bound = value.text if isinstance(value, ast.Name) else self.quantity(value)
                return f"require {which}{metric.text} {op} {bound}"
            case ast.Expect(function, path, value):
                fact = ".".join(name.text for name in path)
                fact = fact if function is None else f"{function}({fact})"
                return f"expect {fact} = {self.quantity(value)}"
