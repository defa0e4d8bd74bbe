"""Voting: which values count as the same answer, the most frequent of them, and its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from .types import BOOL, INT, NEVER, TEXT, Enum, ListOf, Option, Record, Type


def incomparable(kind: Type) -> str | None:
    """Return why two values of a type are hardly ever the same answer, or None where they can be.

    Numbers with a fraction and free-form values come out different every time; so do media. An
    enumeration whose values differ in case alone would be counted wrongly.
    """
    match kind:
        case Enum(values):
            same = len({_said(value) for value in values}) < len(values)
            return f"values of {kind} differ in case or white space alone" if same else None
        case ListOf(item) | Option(item):
            return incomparable(item)
        case Record(fields):
            reasons = (incomparable(part) for _, part in fields)
            return next((reason for reason in reasons if reason is not None), None)
    return None if kind in (BOOL, INT, TEXT, NEVER) else f"two answers of type {kind} never agree"


def majority(values: Sequence[Any]) -> Any:
    """Return the most frequent of values of one type, as it was first said; ties to the first.

    Text is compared without white space around it and without regard to case. ArithmeticError
    where there are no values.
    """
    ballots = [_ballot(value) for value in values]
    return values[ballots.index(_winner(ballots))]


def agreement(values: Sequence[Any]) -> float:
    """Return the share, above 0 and at most 1, of the values that are the same as the majority.

    ArithmeticError where there are no values.
    """
    ballots = [_ballot(value) for value in values]
    return ballots.count(_winner(ballots)) / len(ballots)


def _winner(ballots: Sequence[Hashable]) -> Hashable:
    if not ballots:
        raise ArithmeticError("nobody has voted")
    # a Counter keeps the order of first appearance, and `most_common` among equals keeps that
    return Counter(ballots).most_common(1)[0][0]


def _ballot(value: Any) -> Hashable:
    match value:
        case str():
            return _said(value)
        case list():
            return tuple(map(_ballot, value))
        case dict():
            return tuple((name, _ballot(value[name])) for name in sorted(value))
    return None if value is None else int(value)


def _said(text: str) -> str:
    return text.strip().casefold()
