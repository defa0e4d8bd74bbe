"""Where Python calls happen: in this process, or in a child process that may crash alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from .calling import PythonFunction
from .child_process import ChildProcess, pickled, unpickled
from .entries import Source
from .errors import CallFailed
from .program import Feed


class Job:
    """A call on its way: what to call with what, whom to tell, and the lane that is at it.

    `fed` names the call before in a chain and the parameter that takes its value, `feeds` tells
    that another follows. With `following`, the lane keeps the value and takes what is put there
    next; `takes` is the parameter whose value the lane has kept.
    """

    __slots__ = (
        *("arguments", "fed", "feeds", "following", "function", "future", "knobs", "lane"),
        *("name", "takes"),
    )

    def __init__(
        self,
        name: str,
        function: PythonFunction,
        arguments: Mapping[str, Any],
        knobs: Mapping[str, Any],
        future: asyncio.Future[Any],
        *,
        fed: Feed | None = None,
        feeds: bool = False,
    ) -> None:
        """Wait for a lane."""
        self.name = name
        self.function = function
        self.arguments = arguments
        self.knobs = knobs
        self.future = future
        self.fed = fed
        self.feeds = feeds
        self.following: SimpleQueue[Job | None] | None = None
        self.takes: str | None = None
        self.lane: Lane | None = None


class Lane(Protocol):
    """Makes one call at a time, on behalf of one thread."""

    def call(self, job: Job) -> Any:
        """Return the executor's value; raises `CallFailed`."""

    def warm(self) -> None:
        """Get ready for calls; what cannot be made ready is told by the call that needs it."""

    def kill(self) -> bool:
        """Give up the call at work, from another thread; tells whether that was possible."""

    def close(self) -> None:
        """End; no call is at work."""


class InProcess:
    """Calls functions in the calling thread; such a call cannot be killed."""

    def call(self, job: Job) -> Any:
        """Call it here."""
        return job.function(job.arguments, job.knobs)

    def warm(self) -> None:
        """Leave imports to the first call: here they would be the whole program's."""

    def kill(self) -> bool:
        """Leave the call to end by itself."""
        return False

    def close(self) -> None:
        """Nothing was started."""


class InChild:
    """Calls functions in a child process, started anew after every crash."""

    def __init__(self, ahead: Sequence[tuple[Source, Sequence[str]]], cores: int) -> None:
        """Remember what to make ready ahead (functions and packages), and for how many cores."""
        self._ahead = ahead
        self._cores = cores
        self._child: ChildProcess | None = None
        self._keeps = False  # whether the child holds the value of its last call

    def call(self, job: Job) -> Any:
        """Send the call to the child, without what it has kept, and wait for its answer."""
        arguments, takes = job.arguments, job.takes if self._keeps else None
        if takes is not None:
            arguments = {**arguments, takes: None}
        keep = job.following is not None
        message = pickled((job.function.source, arguments, job.knobs, takes, keep))
        child = self._child if self._child is not None else self._start(())
        try:
            answer = child.ask(message)
        except CallFailed:  # it has died; the next call starts another
            self._child, self._keeps = None, False
            raise
        good, value = unpickled(answer)
        self._keeps = good and keep
        if good:
            return value
        reason, retryable, untouched = value
        raise CallFailed(reason, retryable=retryable, untouched=untouched)

    def warm(self) -> None:
        """Start the child and wait until it has imported what it will need."""
        with suppress(CallFailed):  # the first call tells
            self._start(self._ahead)

    def _start(self, ahead: Sequence[tuple[Source, Sequence[str]]]) -> ChildProcess:
        child = self._child = ChildProcess("child", ahead, cores=self._cores)
        try:
            child.receive()  # READY
        except CallFailed:
            self._child = None
            raise
        return child

    def kill(self) -> bool:
        """Kill the child; the call at work fails."""
        child = self._child
        if child is not None:
            child.kill()
        return True

    def close(self) -> None:
        """End the child by closing its socket, and wait for it."""
        if self._child is not None:
            self._child.close()
        self._child, self._keeps = None, False
