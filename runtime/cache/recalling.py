"""The cache in a run: calls are looked up before they begin, and results kept, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ...ir.types import contains_media
from ..journal import codec
from ..journal.journal import Restored
from ..messages import Submit
from .entry import packed, unpacked
from .key import Keys, Surroundings, Unkeyed
from .store import Store

DEFAULT_BYTES: Final = 10_000_000_000
# Few: what is to be kept waits here, and so do the next look-ups, so that it cannot pile up.
_THREADS = 4
# Takes a call that was looked up, and what was found.
GoOn = Callable[[Submit, Restored | None], None]


@dataclass(frozen=True, slots=True)
class Cache:
    """Where results are kept, and how much of them.

    `sampled` results are draws of a model, kept where that is asked for. `tell` gets, once, what
    keeps results from being written; the run goes on without.
    """

    folder: Path
    limit_bytes: int = DEFAULT_BYTES
    sampled: bool = False
    tell: Callable[[str], None] | None = None


class Recalling:
    """Looks up the calls of one run, and keeps what they give."""

    def __init__(self, cache: Cache, surroundings: Surroundings) -> None:
        """Read and write nothing yet."""
        self._cache = cache
        self._keys = Keys(surroundings, sampled=cache.sampled)
        self._store = Store(cache.folder, cache.limit_bytes)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cache")
        self._asked: set[int] = set()
        self._writes = True

    def ask(self, call: Submit, go_on: GoOn, broken: Callable[[Exception], None]) -> bool:
        """Look a call up, if its result may be kept, and then go on with it.

        Otherwise this is False, and nothing follows. `broken` gets a fault of this program.
        """
        if not self._keys.wanted(call):
            return False
        self._asked.add(call.id)
        asked = asyncio.get_running_loop().run_in_executor(self._pool, self._found, call)
        asked.add_done_callback(partial(self._answer, go_on, broken))
        return True

    def give_up(self, call: int) -> bool:
        """Forget a call, if it is being looked up: then nothing follows."""
        if call not in self._asked:
            return False
        self._asked.discard(call)
        return True

    def keep(self, call: Submit, value: Any) -> None:
        """Keep the result of a call that was looked up in vain."""
        if not call.digest or not self._writes:
            return
        loop = asyncio.get_running_loop()
        # a copy of lists and records: whoever reads the value next may change it
        kept = loop.run_in_executor(self._pool, self._kept, call, _copied(value))
        kept.add_done_callback(self._written)

    async def close(self) -> None:
        """Wait until everything is written that was to be kept."""
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.sleep(0)  # what was written is told of

    def _answer(
        self,
        go_on: GoOn,
        broken: Callable[[Exception], None],
        asked: asyncio.Future[tuple[Submit, Restored | None]],
    ) -> None:
        try:
            call, found = asked.result()
            if self.give_up(call.id):
                go_on(call, found)
        except Exception as fault:
            broken(fault)

    def _written(self, kept: asyncio.Future[None]) -> None:
        error = None if kept.cancelled() else kept.exception()
        if error is None or not self._writes:
            return
        self._writes = False
        if self._cache.tell is not None:
            self._cache.tell(f"results are not kept in `{self._cache.folder}`: {error}")

    # ---- in threads

    def _found(self, call: Submit) -> tuple[Submit, Restored | None]:
        try:
            key = self._keys.of(call)
        except (OSError, Unkeyed, ValueError, RecursionError):
            return call, None  # whoever carries it out says what is wrong
        data = self._store.get(key)
        if data is None:
            return call._replace(digest=key), None
        try:
            value = unpacked(key, call.step.task.result, data)
        except codec.ValueLost:
            self._store.drop(key)
            return call._replace(digest=key), None
        return call, Restored(value, None, "cached")

    def _kept(self, call: Submit, value: Any) -> None:
        try:
            # a file may have changed between the look-up and the call that has read it
            if any(contains_media(p.type) for p in call.step.task.params):
                if self._keys.of(call) != call.digest:
                    return
            data = packed(call.digest, value)
        except (OSError, ValueError, RecursionError):
            return  # it cannot be kept; that is nothing that the run has to know
        self._store.put(call.digest, data)


def _copied(value: Any) -> Any:
    match value:
        case list():
            return [_copied(item) for item in value]
        case dict():
            return {name: _copied(item) for name, item in value.items()}
    return value.copy() if hasattr(value, "ndim") else value
