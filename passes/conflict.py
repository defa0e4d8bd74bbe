"""Say why a job cannot be placed."""

from __future__ import annotations

from .problem import Conflict, Problem


def explain(problem: Problem) -> Conflict:
    return Conflict((), ())
