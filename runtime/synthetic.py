"""Values made up by type: dull ones for simulations, drawn ones for reference runs."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from ..ir.types import MEDIA_TYPES, Base, Enum, ListOf, Option, Record, Type
from .media import Media, MediaKind

_FIELD_STEP = 10.0  # so that a stretch of time, `{start, end}`, is not empty
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")


def plain_value(kind: Type, length: int) -> Any:
    """Return the same dull value of a type every time; lists, at the top, have this length.

    Numbers are positive and grow along a record's fields; Bool is false, so that a loop runs to
    its limit; optional values are present.
    """
    match kind:
        case ListOf(item):
            return [plain_value(item, 1) for _ in range(length)]
        case Option(item):
            return plain_value(item, length)
        case Enum(values):
            return values[0]
        case Record(fields):
            return {
                name: _FIELD_STEP * (place + 1)
                if item == Base("Float")
                else plain_value(item, length)
                for place, (name, item) in enumerate(fields)
            }
    return _PLAIN[kind.name] if kind.name in _PLAIN else _medium(kind.name, b"")


_PLAIN: dict[str, Any] = {
    "Text": "text",
    "Int": 1,
    "Float": 1.0,
    "Bool": False,
    "Json": {},
    "Embedding": [1.0],
    "Index": {},
    "Never": None,
}


def _medium(name: str, data: bytes) -> Media:
    assert name in MEDIA_TYPES  # every base type is a medium or in `_PLAIN`
    return Media(cast(MediaKind, name.lower()), data=data)


def random_value(kind: Type, chance: Random) -> Any:
    """Return a value of a type, drawn from `chance`; lists have up to three items."""
    match kind:
        case ListOf(item):
            return [random_value(item, chance) for _ in range(chance.randrange(4))]
        case Option(item):
            return None if chance.random() < 0.25 else random_value(item, chance)
        case Enum(values):
            return chance.choice(values)
        case Record(fields):
            return {name: random_value(item, chance) for name, item in fields}
    return _random_base(kind.name, chance)


def _random_base(name: str, chance: Random) -> Any:
    match name:
        case "Text":
            return " ".join(chance.choices(_WORDS, k=2))
        case "Int":
            return chance.randrange(-5, 20)
        case "Float":
            return chance.randrange(-20, 80) / 4  # exact in binary: sums do not depend on order
        case "Bool":
            return chance.random() < 0.5
        case "Json" | "Index":
            return {"key": chance.randrange(100)}
        case "Embedding":
            return [chance.randrange(8) / 8 for _ in range(3)]
        case "Never":
            return None
    return _medium(name, chance.randbytes(8))
