"""Lists that a model is still writing: their items, as soon as each is complete."""

from __future__ import annotations

import re
from typing import Any

from ...ir.types import Type
from ..values import ValueProblem
from .structured import ROOT, read_item

# What may stand before the first item: reasoning, a code fence, the object around the list.
_OPENING = re.compile(
    r"\s*(?:<think>.*?</think>\s*)?(?:```\w*\s*\n\s*)?(?:\{\s*\"" + ROOT + r"\"\s*:\s*)?\[",
    re.DOTALL,
)
_MARK = re.compile(r'[\[\]{},"]')
_IN_STRING = re.compile(r'["\\]')


class GrowingList:
    """Finds the items of a list in an answer, whose text comes piece by piece.

    What it finds is what `read_answer` reads from the whole. Where the text is not what an answer
    should be it finds nothing more, and reading the whole will tell why.
    """

    def __init__(self, item: Type) -> None:
        """Start with no text; `item` is the type of the list's items."""
        self._item = item
        self._text = ""
        self._at = 0  # how far the text has been looked at
        self._begin = -1  # where the present item begins; -1 before the list has
        self._depth = 0  # of brackets within the item
        self._quoted = False
        self._over = False

    def feed(self, text: str) -> list[Any]:
        """Take what comes next; returns the items that it completes."""
        if self._over:
            return []
        self._text += text
        if self._begin < 0:
            opening = _OPENING.match(self._text) if "[" in text else None
            if opening is None:
                return []
            self._at = self._begin = opening.end()
        return self._completed()

    def _completed(self) -> list[Any]:
        found: list[Any] = []
        while not self._over:
            mark = (_IN_STRING if self._quoted else _MARK).search(self._text, self._at)
            if mark is None:
                self._at = len(self._text)
                break
            if mark[0] == "\\" and mark.end() == len(self._text):
                self._at = mark.start()  # what it escapes is still to come
                break
            self._at = mark.end() + (mark[0] == "\\")
            self._take(mark, found)
        return found

    def _take(self, mark: re.Match[str], found: list[Any]) -> None:
        sign = mark[0]
        if sign == '"':
            self._quoted = not self._quoted
        elif sign in "[{":
            self._depth += 1
        elif self._depth:
            self._depth -= sign in "]}"
        elif sign in ",]":
            self._end_item(mark.start(), found)
            self._over = self._over or sign == "]"
        elif sign == "}":
            self._over = True

    def _end_item(self, end: int, found: list[Any]) -> None:
        text = self._text[self._begin : end].strip()
        self._begin = self._at
        try:
            found.append(read_item(self._item, text))
        except ValueProblem:
            self._over = True  # an empty list ends so too
