"""Time as the driver sees it: the machine's, or a simulation's that jumps to the next event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from time import monotonic
from typing import Protocol


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Keep it from happening."""


class Clock(Protocol):
    """Seconds since some fixed moment, and things to do later."""

    def now(self) -> float:
        """Return the time in seconds."""

    def later(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """Do something in the event loop after a delay."""


class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return the time in seconds."""
        return monotonic()

    def later(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """Do something in the running event loop after a delay."""
        return asyncio.get_running_loop().call_later(delay_s, action)


class _VirtualTimer:
    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class VirtualClock:
    """A clock that stands still while there is something to do, then jumps to the next timer.

    It advances in the event loop after everything that was ready there has run. Timers of one
    moment go off together, in the order they were set, so that a simulation is deterministic.
    """

    def __init__(self) -> None:
        """Start at 0 s."""
        self._now_s = 0.0
        self._timers: list[tuple[float, int, _VirtualTimer]] = []
        self._set = 0
        self._advancing = False

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def later(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """Do something after a delay of virtual time."""
        timer = _VirtualTimer(action)
        heappush(self._timers, (self._now_s + max(delay_s, 0.0), self._set, timer))
        self._set += 1
        if not self._advancing:
            self._advancing = True
            asyncio.get_running_loop().call_soon(self._advance)
        return timer

    def _advance(self) -> None:
        while self._timers and self._timers[0][2].action is None:
            heappop(self._timers)  # it was cancelled: nothing happens then
        if not self._timers:
            self._advancing = False
            return
        moment = self._timers[0][0]
        self._now_s = moment
        while self._timers and self._timers[0][0] == moment:
            timer = heappop(self._timers)[2]
            if timer.action is not None:
                timer.action()
        asyncio.get_running_loop().call_soon(self._wait)

    def _wait(self) -> None:
        """Advance behind the callbacks that actions cause, and those of calls these give up."""
        asyncio.get_running_loop().call_soon(self._advance)
