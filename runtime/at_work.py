"""The calls of a run that are at work, and what ends one early."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from .clock import Clock, Timer


class AtWork:
    """The futures of the calls at work, by their numbers."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none; time-outs are on this clock."""
        self._clock = clock
        self._futures: dict[int, tuple[asyncio.Future[Any], Timer | None]] = {}
        self._timed_out: set[int] = set()
        self._unwanted: set[int] = set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._futures)

    def __contains__(self, call: int) -> bool:
        """Tell whether a call is at work."""
        return call in self._futures

    def add(self, call: int, future: asyncio.Future[Any], timeout_s: float | None) -> None:
        """Take a call that has begun; it may take so long."""
        timer = None
        if timeout_s is not None:
            timer = self._clock.later(timeout_s, partial(self._time_out, call))
        self._futures[call] = future, timer

    def remove(self, call: int) -> tuple[bool, bool]:
        """Forget a call that has ended; returns whether it was timed out, and was not wanted."""
        _, timer = self._futures.pop(call)
        if timer is not None:
            timer.cancel()
        found = call in self._timed_out, call in self._unwanted
        self._timed_out.discard(call)
        self._unwanted.discard(call)
        return found

    def give_up(self, call: int) -> None:
        """Stop a call of a branch that was not chosen."""
        self._unwanted.add(call)
        self._futures[call][0].cancel()

    def stop(self) -> None:
        """Stop all of them."""
        for future, _ in list(self._futures.values()):
            future.cancel()

    def _time_out(self, call: int) -> None:
        self._timed_out.add(call)
        self._futures[call][0].cancel()
