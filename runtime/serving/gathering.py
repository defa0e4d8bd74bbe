"""Batch fusion of embeddings: texts that are asked for in the same moment go in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

from ..errors import CallFailed
from ..messages import Submit
from ..worker import Usage
from .replica import Replica

# A server works on a batch at a time whatever comes in a request; this bounds what one holds up.
MOST = 32

Vectors = tuple[list[list[float]], Usage]
Ask = Callable[[Replica, Submit, list[str]], Awaitable[Vectors]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call whose texts wait to be sent, and where their vectors are awaited."""

    call: Submit
    texts: Sequence[str]
    answer: asyncio.Future[Vectors]


class Gathering:
    """Gathers the texts that are asked of a replica until the event loop has no other call ready.

    A text that several calls ask for, such as a passage that several questions are searched in, is
    sent once. Nothing waits for a time: a call that comes alone goes alone. A request that the
    server refuses is made again call by call, so that one that is wrong fails alone; after other
    failures all its calls fail, and are tried again as the plan says. A request is given up when
    all its calls are.
    """

    def __init__(self, ask: Ask) -> None:
        """Make requests by `ask`: of a replica, for the vectors of texts, in a call's name."""
        self._ask = ask
        # by the identity of the replica, and how many texts it takes
        self._waiting: dict[tuple[int, int], list[_Waiting]] = {}
        self._requests: set[asyncio.Task[None]] = set()

    async def vectors(
        self, replica: Replica, call: Submit, texts: Sequence[str], most: int = MOST
    ) -> Vectors:
        """Return the vectors of a call's texts, and its share of what the request consumed.

        A request has all texts of the call that came first, and fewer than `most` others.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, texts, loop.create_future())
        others = self._waiting.setdefault((id(replica), most), [])
        others.append(waiting)
        if len(others) == 1:
            # one turn later: calls that were made ready together get here in this one or the next
            loop.call_soon(loop.call_soon, self._send, replica, most)
        return await waiting.answer

    def _send(self, replica: Replica, most: int) -> None:
        gathered = self._waiting.pop((id(replica), most))
        for batch in _batches([w for w in gathered if not w.answer.done()], most):
            request = asyncio.get_running_loop().create_task(self._serve(replica, batch))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            for one in batch:
                one.answer.add_done_callback(partial(_given_up, batch, request))

    async def _serve(self, replica: Replica, batch: Sequence[_Waiting]) -> None:
        try:
            texts = list(dict.fromkeys(text for one in batch for text in one.texts))
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
        found = dict(zip(texts, vectors, strict=True))
        shares = _shared(usage, [sum(map(len, one.texts)) for one in batch])
        for one, share in zip(batch, shares, strict=True):
            if not one.answer.done():
                one.answer.set_result(([found[text] for text in one.texts], share))


def _batches(waiting: Sequence[_Waiting], most: int) -> Iterator[list[_Waiting]]:
    """Put calls into requests, in their order: all texts of the first, fewer than `most` others."""
    batch: list[_Waiting] = []
    texts: set[str] = set()
    room = 0
    for one in waiting:
        new = set(one.texts) - texts
        if len(new) > room or not batch:
            if batch:
                yield batch
            batch, texts, room = [one], set(one.texts), most - 1
            continue
        batch.append(one)
        texts |= new
        room -= len(new)
    if batch:
        yield batch


def _given_up(
    batch: Sequence[_Waiting], request: asyncio.Task[None], _: asyncio.Future[Vectors]
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
