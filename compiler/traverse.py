"""Walks over the syntax tree that need no types."""

from __future__ import annotations

from collections.abc import Iterator

from . import ast

Node = ast.Expr | ast.Block | ast.Statement


def walk(root: Node) -> Iterator[Node]:
    """Yield a node and everything below it, in source order; deep trees cost no call stack."""
    pending: list[Node] = [root]
    while pending:
        node = pending.pop()
        yield node
        pending += reversed(_children(node))


def _children(node: Node) -> list[Node]:
    match node:
        case ast.Block(statements):
            return list(statements)
        case ast.Bind(_, value) | ast.Return(value):
            return [value]
        case ast.Yield(value, until):
            return [value] if until is None else [value, until]
        case ast.CallStatement(call):
            return [call]
        case ast.Call():
            return list(node.args)
        case ast.Field(base):
            return [base]
        case ast.ListExpr(items):
            return list(items)
        case ast.RecordExpr(fields):
            return [value for _, value in fields if value is not None]
        case ast.Unary(_, operand):
            return [operand]
        case ast.Binary(_, left, right):
            return [left, right]
        case ast.Paren(inner):
            return [inner]
        case ast.For(_, source, where, body):
            return [source, body] if where is None else [source, where, body]
        case ast.Repeat(_, carried, body):
            return [*(value for _, value in carried), body]
        case ast.If(condition, then, orelse):
            return [condition, then, orelse]
    return []


def unwrapped(node: ast.Expr) -> ast.Expr:
    """Return an expression without the parentheses around it."""
    while isinstance(node, ast.Paren):
        node = node.inner
    return node


def calls(root: Node) -> Iterator[ast.Call]:
    """Yield every call below a node, in source order."""
    return (node for node in walk(root) if isinstance(node, ast.Call))


def bound_names(body: ast.Block) -> Iterator[ast.Name]:
    """Yield every name a body binds: bindings, items of `for`s, carried names."""
    for node in walk(body):
        match node:
            case ast.Bind(name) | ast.For(name):
                yield name
            case ast.Repeat(_, carried):
                yield from (name for name, _ in carried)


def mentioned(root: ast.TypeExpr) -> Iterator[str]:
    """Yield every type name in a type expression, in source order."""
    pending: list[ast.TypeExpr] = [root]
    while pending:
        match pending.pop():
            case ast.TypeName(name):
                yield name
            case ast.TypeList(item) | ast.TypeOption(item):
                pending.append(item)
            case ast.TypeRecord(fields):
                pending += [kind for _, kind in reversed(fields)]
