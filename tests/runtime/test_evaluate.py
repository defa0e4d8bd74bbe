"""What the pure operations compute."""

from __future__ import annotations

from typing import Any

import pytest

from murakkab.ir.ops import OPS, Op, attributes
from murakkab.runtime.evaluate import evaluator

CASES: list[tuple[str, tuple[Any, ...], Any]] = [
    ("add", (2, 3), 5),
    ("add", ("a", "b"), "ab"),
    ("add", ([1], [2]), [1, 2]),
    ("sub", (2, 0.5), 1.5),
    ("mul", (3, 4), 12),
    ("div", (3, 2), 1.5),
    ("eq", ("a", "a"), True),
    ("ne", (1, 1.0), False),
    ("lt", (1, 2), True),
    ("le", ("b", "a"), False),
    ("gt", (1, 2), False),
    ("ge", (2, 2), True),
    ("and", (True, False), False),
    ("or", (True, False), True),
    ("not", (False,), True),
    ("neg", (2.5,), -2.5),
    ("is_none", (None,), True),
    ("is_none", (0,), False),
    ("coalesce", (None, 1), 1),
    ("coalesce", (0, 1), 0),
    ("len", ("größe",), 5),
    ("flatten", ([[1], [], [2, 3]],), [1, 2, 3]),
    ("join", (["a", "b"], ", "), "a, b"),
    ("majority", (["b", "a", " A "],), "a"),
    ("majority", ([2, 1, 1, 2],), 2),
    (
        "majority",
        ([{"x": ["A"], "y": True}, {"y": False, "x": []}, {"y": True, "x": ["a "]}],),
        {"x": ["A"], "y": True},
    ),
    ("agreement", (["b", "a", " A "],), 2 / 3),
    ("agreement", ([None, None],), 1.0),
    ("list", (1, 2), [1, 2]),
    ("record", (1, 2), {"a": 1, "b": 2}),
    ("field", ({"a": 1, "b": 2},), 2),
]


@pytest.mark.parametrize(("kind", "operands", "result"), CASES)
def test_each_operation_computes_its_result(
    kind: str, operands: tuple[Any, ...], result: Any
) -> None:
    attrs = {"record": {"fields": ("a", "b")}, "field": {"name": "b"}}.get(kind, {})
    value = evaluator(Op(kind, attrs=attributes(attrs)))(*operands)  # type: ignore[arg-type]
    assert value == result
    assert type(value) is type(result)


def test_every_pure_operation_is_among_the_cases() -> None:
    control = {"const", "map", "filter", "if", "loop", "yield", "return"}
    pure = {kind for kind, spec in OPS.items() if spec.pure} - control
    assert {kind for kind, _, _ in CASES} == pure


@pytest.mark.parametrize(
    ("kind", "operands", "told"),
    [
        ("div", (1, 0), "division by zero"),
        ("mul", (2**40, 2**40), "does not fit in 64 bits"),
        ("mul", (1e200, 1e200), "too large for a Float"),
        ("neg", (-(2**63),), "does not fit in 64 bits"),
        ("majority", ([],), "nobody has voted"),
        ("agreement", ([],), "nobody has voted"),
    ],
)
def test_what_cannot_be_computed_is_an_arithmetic_error(
    kind: str, operands: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(ArithmeticError, match=told):
        evaluator(Op(kind))(*operands)
