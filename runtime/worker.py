"""The protocol between the driver and what does the work of one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..targets.library import Executor
from ..targets.plan import EnginePlan
from .messages import Submit


@dataclass(slots=True)
class Seats:
    """Calls in flight that several engines share: the child processes of a run, say."""

    size: int
    taken: int = 0


class Usage(NamedTuple):
    """What calls consumed; `cached_tokens` are those of the prompts that a cache spared computing.

    `cut` counts answers that ended because of a limit on their length.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    cut: int = 0

    def plus(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.usd + other.usd,
            self.cut + other.cut,
        )

    @property
    def tokens(self) -> int:
        """Return the tokens a model had to compute: prompts beyond the cache, and outputs."""
        return self.prompt_tokens - self.cached_tokens + self.output_tokens


class Measured(NamedTuple):
    """A call's value together with what the call consumed."""

    value: Any
    usage: Usage


# Takes the next items of a list that is still being made, each of the type of the list's items.
Offer = Callable[[Sequence[Any]], None]


class Worker(Protocol):
    """Does the calls of one engine. Everything is called in the driver's event loop."""

    @property
    def seats(self) -> Seats | None:
        """What the engine shares with others; None where its own concurrency is all there is."""

    async def start(self) -> None:
        """Make ready for calls; raises `CallFailed` where that cannot be."""

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        """Begin a call; the future gives its value, bare or `Measured`, or raises `CallFailed`.

        Cancelling the future gives the call up: the work is stopped where it can be. `offer` is
        there where the result `streams`: a worker that has some items of the list before the rest
        may hand them over, each once, beyond `call.given`. The value begins with them all.
        """

    def health(self) -> str | None:
        """Return what is wrong with the engine, None where nothing is known to be."""

    def retire(self) -> None:
        """Learn that no further call will come: what the engine holds may be given up."""

    async def drain(self) -> None:
        """Wait until no call is at work."""

    async def stop(self) -> None:
        """End everything that was started, at once."""


# How the driver gets the worker of an engine; the executor is None where the library has none.
WorkerFactory = Callable[[EnginePlan, Executor | None], Worker]
