"""The protocol between the driver and what does the work of one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..targets.library import Executor
from ..targets.plan import EnginePlan
from .state import Submit


@dataclass(slots=True)
class Seats:
    """Calls in flight that several engines share: the child processes of a run, say."""

    size: int
    taken: int = 0


class Worker(Protocol):
    """Does the calls of one engine. Everything is called in the driver's event loop."""

    @property
    def seats(self) -> Seats | None:
        """What the engine shares with others; None where its own concurrency is all there is."""

    async def start(self) -> None:
        """Make ready for calls; raises `CallFailed` where that cannot be."""

    def submit(self, call: Submit) -> asyncio.Future[Any]:
        """Begin a call; the future gives its value or raises `CallFailed`.

        Cancelling the future gives the call up: the work is stopped where it can be.
        """

    def health(self) -> str | None:
        """Return what is wrong with the engine, None where nothing is known to be."""

    async def drain(self) -> None:
        """Wait until no call is at work."""

    async def stop(self) -> None:
        """End everything that was started, at once."""


# How the driver gets the worker of an engine; the executor is None where the library has none.
WorkerFactory = Callable[[EnginePlan, Executor | None], Worker]
