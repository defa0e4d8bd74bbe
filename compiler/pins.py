"""Pins, `with { … }`: checked, and brought into the canonical form of the IR's attributes."""

from __future__ import annotations

import math

from ..ir.diagnostics import Label, Span
from ..ir.ops import Attr
from ..ir.printer import number
from ..ir.quantities import quantity
from ..ir.types import quote
from . import ast
from .findings import Findings

DEVICES = ("cpu", "gpu")
_NAMES = ("executor", "model", "gpu")  # pins that take a name in quotes


def pin_attrs(pins: tuple[ast.Pin, ...], findings: Findings) -> dict[str, Attr]:
    """Return the attributes `pin.NAME`, each `"= 10"`, `"<= 10"`; several pins of a name a tuple.

    Numbers are in base units, strings quoted, words bare. A call pinned to a temperature above 0
    is `sampled` as well.
    """
    found: dict[str, list[str]] = {}
    equal: dict[str, Span] = {}
    for pin in pins:
        text = _canonical(pin, findings)
        if text is None:
            continue
        if text.startswith("= "):
            if pin.name.text in equal:
                findings.error(
                    "duplicate-pin",
                    f"`{pin.name.text}` is pinned twice",
                    pin.name.span,
                    Label(equal[pin.name.text], "the first time"),
                )
                continue
            equal[pin.name.text] = pin.name.span
        if text not in found.setdefault(pin.name.text, []):
            found[pin.name.text].append(text)
    attrs: dict[str, Attr] = {
        f"pin.{name}": texts[0] if len(texts) == 1 else tuple(texts)
        for name, texts in found.items()
    }
    if any(not _allows_zero(text) for text in found.get("temperature", ())):
        attrs["sampled"] = True
    return attrs


def _allows_zero(text: str) -> bool:
    """Tell whether temperature 0, the default, satisfies a pin."""
    op, _, value = text.partition(" ")
    try:
        limit = float(value)
    except ValueError:
        return True  # not a number: no executor can satisfy it
    comparisons = {
        "=": limit == 0,
        "!=": limit != 0,
        "<": limit > 0,
        "<=": limit >= 0,
        ">": limit < 0,
        ">=": limit <= 0,
    }
    return comparisons[op]


def _canonical(pin: ast.Pin, findings: Findings) -> str | None:
    op = "=" if pin.op in (":", "==") else pin.op
    value = _value(pin.value, findings)
    if value is None or not _sensible(pin, op, findings):
        return None
    return f"{op} {value}"


def _value(value: ast.Quantity | ast.Literal | ast.Name, findings: Findings) -> str | None:
    match value:
        case ast.Name(text):
            return text
        case ast.Literal(bool() as flag):
            return "true" if flag else "false"
        case ast.Literal(str() as text):
            return quote(text)
        case ast.Quantity(amount, unit, span):
            base = quantity(amount, unit).value
            if math.isfinite(base):
                return _number(base)
            findings.error("number-too-large", "the quantity is too large", span)
    return None


def _number(value: float) -> str:
    return number(int(value) if value.is_integer() else value)


def _sensible(pin: ast.Pin, op: str, findings: Findings) -> bool:
    name, value = pin.name.text, pin.value
    is_text = isinstance(value, ast.Literal) and isinstance(value.value, str)
    if name in _NAMES and not is_text:
        shown = value.text if isinstance(value, ast.Name) else "…"
        findings.error(
            "bad-pin",
            f"`{name}` is pinned to a name in quotes",
            value.span,
            help=f'write `{name}: "{shown}"`',
        )
        return False
    if name == "device" and not (isinstance(value, ast.Name) and value.text in DEVICES):
        shown = value.text if isinstance(value, ast.Name) else ""
        findings.error(
            "bad-pin",
            "`device` is pinned to `cpu` or `gpu`",
            value.span,
            help=findings.suggest(shown, DEVICES),
        )
        return False
    if op not in ("=", "!=") and not isinstance(value, ast.Quantity):
        findings.error(
            "bad-pin",
            f"`{pin.op}` compares numbers",
            value.span,
            help=f"pin `{name}` with `:`",
        )
        return False
    return True
