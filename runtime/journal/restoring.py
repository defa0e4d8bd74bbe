"""Results that a journal has: the run gets them a stretch at a time, so that others have turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..messages import Submit
from .journal import Restored

_AT_ONCE = 256


class Restoring:
    """Results that wait for their turn in the event loop, in the order of their calls."""

    def __init__(
        self, give: Callable[[Submit, Restored], None], broken: Callable[[Exception], None]
    ) -> None:
        """Call `give` with each, and `broken` with what it raises: nobody else would see that."""
        self._give = give
        self._broken = broken
        self._waiting: deque[tuple[Submit, Restored]] = deque()

    def add(self, call: Submit, found: Restored) -> None:
        """Have a result given soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._go)
        self._waiting.append((call, found))

    def _go(self) -> None:
        try:
            for _ in range(min(len(self._waiting), _AT_ONCE)):
                self._give(*self._waiting.popleft())
        except Exception as error:
            self._broken(error)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go)
