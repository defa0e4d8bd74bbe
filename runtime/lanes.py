"""Where Python calls happen: in this process, or in a child process that may crash alone."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import IO, Any, Protocol

from .calling import PythonFunction
from .entries import Source
from .errors import CallFailed
from .program import Feed

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    f" from {__package__}.child import main;"
    " main(int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))"
)
# What numeric libraries read, once, when they are loaded.
_THREAD_LIMITS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "OPENCV_FOR_THREADS_NUM",
)
_LOG_TAIL_BYTES = 2000


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
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._keeps = False  # whether the child holds the value of its last call

    def call(self, job: Job) -> Any:
        """Send the call to the child, without what it has kept, and wait for its answer."""
        arguments, takes = job.arguments, job.takes if self._keeps else None
        if takes is not None:
            arguments = {**arguments, takes: None}
        keep = job.following is not None
        message = _pickled((job.function.source, arguments, job.knobs, takes, keep))
        if self._connection is None:
            self._start(())
        assert self._connection is not None  # `_start` set it
        try:
            self._connection.send_bytes(message)
            answer = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise CallFailed(self._epitaph()) from None
        good, value = _unpickled(answer)
        self._keeps = good and keep
        if good:
            return value
        reason, retryable = value
        raise CallFailed(reason, retryable=retryable)

    def warm(self) -> None:
        """Start the child and wait until it has imported what it will need."""
        with suppress(CallFailed):  # the first call tells
            self._start(self._ahead)

    def _start(self, ahead: Sequence[tuple[Source, Sequence[str]]]) -> None:
        try:
            self._connection = Connection(self._spawn(ahead).detach())
        except OSError as error:
            raise CallFailed(f"its worker process cannot be started: {error}") from error
        try:
            self._connection.recv_bytes()  # READY
        except (EOFError, OSError):
            raise CallFailed(self._epitaph()) from None

    def _spawn(self, ahead: Sequence[tuple[Source, Sequence[str]]]) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _BOOT, json.dumps(sys.path)),
                    *(str(theirs.fileno()), str(os.getpid())),
                    json.dumps(ahead),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **dict.fromkeys(_THREAD_LIMITS, str(self._cores))},
            )
        return ours

    def _epitaph(self) -> str:
        """Say how the child ended, and its last words; the next call starts another."""
        assert self._process is not None and self._log is not None  # a call was sent to it
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        words = self._log.read().decode("utf-8", "replace").strip()
        self.close()
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL); did the machine run out of memory?"
        elif code < 0:
            how = f"crashed ({signal.Signals(-code).name})"
        else:
            how = f"ended by itself (exit code {code})"
        return f"its worker process {how}" + (f"; its last output: {words}" if words else "")

    def kill(self) -> bool:
        """Kill the child; the call at work fails."""
        process = self._process
        if process is not None:
            process.kill()
        return True

    def close(self) -> None:
        """End the child by closing its socket, and wait for it."""
        if self._process is None or self._connection is None or self._log is None:
            return
        self._connection.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._process = self._connection = self._log = None
        self._keeps = False


def _pickled(call: object) -> bytes:
    try:
        return pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise CallFailed(f"an argument cannot be sent to its process: {error}") from error


def _unpickled(answer: bytes) -> Any:
    try:
        return pickle.loads(answer)
    except (pickle.UnpicklingError, ImportError, AttributeError) as error:
        raise CallFailed(f"returned what cannot be read outside its process: {error}") from error
