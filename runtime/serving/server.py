"""One model server: started under a keeper, waited for, watched, stopped."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from ..errors import CallFailed
from . import keeper
from .command import ServerCommand
from .warm import kill_session

READY_WITHIN_S = 1800.0  # loading hundreds of gigabytes from a slow disk takes its time
_LOOK_EVERY_S = 0.2
_PORTS_TRIED = 3
_LOG_TAIL_BYTES = 64 * 1024

Probe = Callable[[str], Awaitable[bool]]


@dataclass
class Server:
    """A started server; `lasting` ones outlive this process and end with `mkb down`."""

    url: str  # without a path
    log: Path
    process: subprocess.Popen[bytes]
    started_s: float = 0.0  # how long it took to answer
    log_from: int = 0  # where its part of the log begins, in bytes: former servers wrote there too

    @property
    def alive(self) -> bool:
        """Whether its keeper, and so its first process, runs."""
        return self.process.poll() is None

    async def stop(self) -> None:
        """End its whole process group; returns when nothing of it is left."""
        if self.alive:
            self.process.terminate()
        # the keeper asks, waits and kills; twice its patience is more than it can take
        until_s = monotonic() + 2.0 * keeper.GRACE_S + 5.0
        while self.alive and monotonic() < until_s:
            await asyncio.sleep(0.05)
        if self.alive:
            self.process.kill()
            self.process.wait()
        if self.process.returncode < 0:
            kill_session(self.process.pid)
        if self.process.stdin is not None:
            self.process.stdin.close()


async def start_server(
    command: ServerCommand,
    log: Path,
    answers: Probe,
    *,
    lasting: bool = False,
    within_s: float = READY_WITHIN_S,
) -> Server:
    """Start a server on a free port of 127.0.0.1 and wait until it answers.

    `answers` tells whether the server at an address is ready. Raises `CallFailed` with the cause
    in one line, where the log is, and what to do; nothing of the server is left then.
    """
    for attempt in range(1, _PORTS_TRIED + 1):
        began_s = monotonic()
        try:
            server = _spawn(command, log, lasting)
        except OSError as error:
            message = f"its server cannot be started with the log `{log}`: {error.strerror}"
            raise CallFailed(message) from None
        try:
            await _ready(server, answers, began_s + within_s)
        except BaseException as error:
            await server.stop()
            taken = isinstance(error, CallFailed) and error.retryable
            if taken and attempt < _PORTS_TRIED:
                continue  # another program took the port between our look and the server's
            raise
        server.started_s = monotonic() - began_s
        return server
    raise AssertionError("the last attempt returns or raises")


def _spawn(command: ServerCommand, log: Path, lasting: bool) -> Server:
    port = _free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    lifeline = [] if lasting else ["--lifeline"]
    with log.open("ab") as output:
        log_from = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, *lifeline, *command.on_port(port)],
            stdin=subprocess.DEVNULL if lasting else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(command.environment),
            start_new_session=True,  # Ctrl-C in the terminal is the run's to answer
        )
    return Server(f"http://127.0.0.1:{port}", log, process, log_from=log_from)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _ready(server: Server, answers: Probe, until_s: float) -> None:
    while not await answers(server.url):
        if not server.alive:
            raise failure(server)
        if monotonic() > until_s:
            message = f"the server did not get ready in time; its log is `{server.log}`"
            raise CallFailed(message, help="see what it is waiting for at the end of the log")
        await asyncio.sleep(_LOOK_EVERY_S)
    if not server.alive:
        raise failure(server)  # another program answers: it took the port


def failure(server: Server) -> CallFailed:
    """Return what a server that has ended died of, as its log tells."""
    from .diagnosis import diagnose  # 3 ms of patterns, for servers that end

    killed = server.process.poll() == keeper.KILLED
    found = diagnose(tail(server.log, server.log_from), killed=killed)
    message = f"its server ended: {found.cause}; its log is `{server.log}`"
    return CallFailed(message, help=found.advice, retryable=found.port_taken)


def tail(log: Path, begin: int = 0) -> str:
    """Return the end of a log, whole lines, from no earlier than byte `begin`."""
    try:
        with log.open("rb") as file:
            return _last(file, begin)
    except OSError:
        return ""


def _last(file: IO[bytes], begin: int) -> str:
    start = file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES
    file.seek(max(begin, start))
    text = file.read().decode("utf-8", "replace")
    return text if start <= begin else text.partition("\n")[2]
