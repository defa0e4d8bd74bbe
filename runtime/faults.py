"""Faults of this program where nobody waits for what they break."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def guarded(
    action: Callable[[T], None], broken: Callable[[Exception], None]
) -> Callable[[T], None]:
    """Return an action whose faults are told to `broken`: a run that nobody ends would hang."""

    def carried_out(argument: T) -> None:
        try:
            action(argument)
        except Exception as fault:
            broken(fault)

    return carried_out
