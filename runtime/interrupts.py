"""Ctrl-C and SIGTERM as calls."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Interrupts:
    """Turns Ctrl-C and SIGTERM into a call, while it is entered (main thread only)."""

    def __init__(self, action: Callable[[], None]) -> None:
        """Take what to do at each signal."""
        self._action = action

    def __enter__(self) -> None:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._action)

    def __exit__(self, *error: object) -> None:
        """Give the signals back."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
