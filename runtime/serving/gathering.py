"""Batch fusion of embeddings: texts that are asked for in the same moment go in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

from ..errors import CallFailed
from ..messages import Submit
from ..worker import Measured, Usage
from .replica import Replica

# A server works on a batch at a time whatever comes in a request; this bounds what one holds up.
MOST = 32

Vectors = tuple[list[list[float]], Usage]
Ask = Callable[[Replica, Submit, list[str]], Awaitable[Vectors]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call whose text waits to be sent, and where its vector is awaited."""

    call: Submit
    text: str
    answer: asyncio.Future[Measured]


class Gathering:
    """Gathers the texts that are asked of a replica until the event loop has no other call ready.

    Nothing waits for a time: a text that comes alone goes alone. A request that the server refuses
    is made again text by text, so that one that is wrong fails alone; after other failures all its
    calls fail, and are tried again as the plan says. A request is given up when all its calls are.
    """

    def __init__(self, ask: Ask) -> None:
        """Make requests by `ask`: of a replica, for the vectors of texts, in a call's name."""
        self._ask = ask
        self._waiting: dict[int, list[_Waiting]] = {}  # by the identity of the replica
        self._requests: set[asyncio.Task[None]] = set()

    async def vector(self, replica: Replica, call: Submit, text: str) -> Measured:
        """Return the vector of a text, and its share of what the request consumed."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, text, loop.create_future())
        others = self._waiting.setdefault(id(replica), [])
        others.append(waiting)
        if len(others) == 1:
            # one turn later: calls that were made ready together get here in this one or the next
            loop.call_soon(loop.call_soon, self._send, replica)
        return await waiting.answer

    def _send(self, replica: Replica) -> None:
        gathered = [w for w in self._waiting.pop(id(replica)) if not w.answer.done()]
        for begin in range(0, len(gathered), MOST):
            batch = gathered[begin : begin + MOST]
            request = asyncio.get_running_loop().create_task(self._serve(replica, batch))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            for one in batch:
                one.answer.add_done_callback(partial(_given_up, batch, request))

    async def _serve(self, replica: Replica, batch: Sequence[_Waiting]) -> None:
        try:
            texts = [one.text for one in batch]
            vectors, usage = await self._ask(replica, batch[0].call, texts)
        except CallFailed as error:
            if error.retryable or len(batch) == 1:
                _fail(batch, error)
            else:
                await asyncio.gather(*(self._serve(replica, [one]) for one in batch))
            return
        except Exception as error:  # a fault of ours: nobody may wait for ever
            _fail(batch, error)
            return
        shares = _shared(usage, [len(text) for text in texts])
        for one, vector, share in zip(batch, vectors, shares, strict=True):
            if not one.answer.done():
                one.answer.set_result(Measured(vector, share))


def _given_up(
    batch: Sequence[_Waiting], request: asyncio.Task[None], _: asyncio.Future[Measured]
) -> None:
    if all(one.answer.cancelled() for one in batch):
        request.cancel()


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    """Let calls fail, each by an error of its own; what was consumed is told once."""
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(copy(error))
            if isinstance(error, CallFailed):
                error.usage = None


def _shared(usage: Usage, lengths: Sequence[int]) -> list[Usage]:
    """Share what a request consumed out by the lengths of its texts; the request is the first's."""
    total, before, shares = sum(lengths) or 1, 0, []
    for number, length in enumerate(lengths):
        after = before + length

        def part(amount: int, begin: int = before, end: int = after) -> int:
            return round(amount * end / total) - round(amount * begin / total)

        shares.append(
            Usage(
                requests=0 if number else usage.requests,
                prompt_tokens=part(usage.prompt_tokens),
                cached_tokens=part(usage.cached_tokens),
                usd=usage.usd * length / total,
            )
        )
        before = after
    return shares
