"""Hedged requests: a call that takes longer than most is asked of an idle server as well.

What most calls of a step take is learnt while the run goes on. After a percentile of that, usually
the 95th, a second request goes out, so about one call in twenty costs one, and it goes only to a
server that has nothing else to do, within the run's budget of repetitions (Dean and Barroso, "The
Tail at Scale", CACM 56(2), 2013).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import CallFailed
from .replica import Replica

T = TypeVar("T")
_REMEMBERED = 200  # calls of a step
_LEAST = 20  # calls before anything is known of the rest


class Tail:
    """How long the calls of each step took, of those most recent."""

    def __init__(self, quantile: float) -> None:
        """Know nothing yet; `quantile` is the share of calls that are not late."""
        self._quantile = quantile
        self._seconds: dict[str, deque[float]] = {}

    def note(self, step: str, seconds: float) -> None:
        """Take the time of a call that gave a result."""
        self._seconds.setdefault(step, deque(maxlen=_REMEMBERED)).append(seconds)

    def after_s(self, step: str) -> float | None:
        """Return when a call takes longer than most, None where too little is known."""
        known = self._seconds.get(step, ())
        if len(known) < _LEAST:
            return None
        return sorted(known)[int(self._quantile * len(known))]


async def hedged(
    ask: Callable[[Replica], Awaitable[T]],
    first: Replica,
    after_s: float,
    idle: Callable[[], Replica | None],
) -> T:
    """Return the answer of one server, or after a time that of whichever of two is first.

    `idle` gives the second, if there is one then. A failure counts only where both fail; raises
    `CallFailed` of the one asked last.
    """
    asked = [asyncio.ensure_future(ask(first))]
    try:
        await asyncio.wait(asked, timeout=after_s)
        other = idle() if not asked[0].done() else None
        if other is not None:
            asked.append(asyncio.ensure_future(ask(other)))
        waiting = set(asked)
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            sound = [task for task in done if not isinstance(task.exception(), CallFailed)]
            if sound or not waiting:
                return (sound or list(done))[0].result()
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
