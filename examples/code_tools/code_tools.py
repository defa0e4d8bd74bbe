"""Executors of the workflows that let models write programs."""

from __future__ import annotations

import re
from typing import NotRequired, TypedDict

# A fence may name a language; an answer that is cut short lacks the last one.
_FENCED = re.compile(r"^```[^\n`]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)


class Attempt(TypedDict):
    """A program, whether it passes its tests, and how many testers agree, where there are any."""

    program: str
    passed: bool
    agreed: NotRequired[int]
    report: str


def code_in(answer: str) -> str:
    """Return the longest block between Markdown fences, or all of an answer that has none."""
    return max(_FENCED.findall(answer), key=len, default=answer)


def leading(attempts: list[Attempt]) -> Attempt:
    """Return the attempt that passes, then the one most testers agree with, then the earliest.

    Raises `ValueError` where there is none.
    """
    return max(attempts, key=lambda attempt: (attempt["passed"], attempt.get("agreed", 0)))
