"""A child process: a fresh interpreter at the other end of a socket, which cannot outlive us."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from .errors import CallFailed

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    f" from {__package__}.MODULE import main;"
    " main(int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))"
)
# What numeric libraries read, once, when they are loaded.
_THREAD_LIMITS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "OPENCV_FOR_THREADS_NUM",
)
_LOG_TAIL_BYTES = 2000
_CLOSING_S = 1.0


class ChildProcess:
    """One life of a child that runs `main(socket, parent, argument)` of a module beside this one.

    What it writes is kept, for its last words. Not for use by two threads at once, but for `kill`.
    """

    def __init__(
        self,
        module: str,
        argument: object,
        *,
        cores: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; `argument` goes through JSON, `environment` adds to this process's own.

        Numeric libraries get `cores` threads. Raises `CallFailed` where it cannot be started.
        """
        limits = dict.fromkeys(_THREAD_LIMITS, str(cores))
        try:
            ours, theirs = socket.socketpair()
            self._log = tempfile.TemporaryFile()
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-c", _BOOT.replace("MODULE", module)),
                        *(json.dumps(sys.path), str(theirs.fileno()), str(os.getpid())),
                        json.dumps(argument),
                    ],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env={**os.environ, **limits, **(environment or {})},
                )
        except OSError as error:
            raise CallFailed(f"its worker process cannot be started: {error}") from error
        self._connection = Connection(ours.detach())

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer; raises `CallFailed` where the child has died."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            raise CallFailed(self._epitaph()) from None
        return self.receive()

    def receive(self) -> bytes:
        """Wait for a message; raises `CallFailed` where the child has died instead."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise CallFailed(self._epitaph()) from None

    def _epitaph(self) -> str:
        """Say how the child ended, and its last words."""
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        words = self._log.read().decode("utf-8", "replace").strip()
        self.close()
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL); did the machine run out of memory?"
        elif code < 0:
            how = f"crashed ({_signal(-code)})"
        else:
            how = f"ended by itself (exit code {code})"
        return f"its worker process {how}" + (f"; its last output: {words}" if words else "")

    def kill(self) -> None:
        """Kill it, from any thread; who waits for an answer learns of its death."""
        self._process.kill()

    def close(self) -> None:
        """End it by closing its socket, and wait for it."""
        self._connection.close()
        try:
            self._process.wait(timeout=_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def pickled(call: object) -> bytes:
    """Return a call as it travels; raises `CallFailed` where an argument cannot."""
    try:
        return pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # the value's own methods may raise anything
        raise CallFailed(f"an argument cannot be sent to its process: {error}") from error


def unpickled(answer: bytes) -> Any:
    """Return an answer as it left the child; raises `CallFailed` where nobody here knows it."""
    try:
        return pickle.loads(answer)
    except Exception as error:  # likewise
        raise CallFailed(f"returned what cannot be read outside its process: {error}") from error
