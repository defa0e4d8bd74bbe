"""Servers kept between runs: `mkb up` leaves a file for each, `mkb run` looks for what it needs.

A file names the keeper by process number and start time, so that another process that got the
number later is never taken for it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

from . import keeper

FOLDER = Path(".murakkab/engines")
_SCHEMA = "murakkab/engine/1"


@dataclass(frozen=True, slots=True)
class WarmServer:
    """A server that outlives the command that started it; `fingerprint` is its command's."""

    fingerprint: str
    engine: str
    executor: str
    model: str  # the name requests give
    base: str  # its address without a path
    log: str
    pid: int  # the keeper's
    born: int  # its start, in clock ticks since the machine's

    @property
    def alive(self) -> bool:
        """Whether its keeper still runs."""
        return birth(self.pid) == self.born


def birth(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the machine did; None for one gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(rest[18])


def kill_session(session: int) -> None:
    """Kill what a killed keeper has left: the processes of its server are of its session.

    The kernel has ended the first of them; the others would hold their memory for ever. As long as
    there are any, no other process gets the keeper's number.
    """
    for entry in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            # the name of the program stands in parentheses and may hold anything
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                os.kill(int(entry.name), signal.SIGKILL)


def keep(folder: Path, server: WarmServer) -> None:
    """Write a server's file; raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": _SCHEMA, **asdict(server)}
    path = folder / f"{server.engine}-{server.pid}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def warm_servers(folder: Path) -> list[WarmServer]:
    """Return the servers that are still there, by file name.

    What is left of others, whose keepers were killed, is ended, and their files are removed.
    """
    found = []
    for path, server in _files(folder):
        if server.alive:
            found.append(server)
            continue
        if birth(server.pid) is None:
            kill_session(server.pid)
        path.unlink(missing_ok=True)
    return found


def _files(folder: Path) -> Iterator[tuple[Path, WarmServer]]:
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            schema = document.pop("schema")
            server = WarmServer(**document)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue  # not written by us: none of our business
        if schema == _SCHEMA and type(server.pid) is int and server.pid > 1:
            yield path, server


def end(folder: Path, servers: list[WarmServer]) -> None:
    """End servers and wait until they are gone."""
    for server in servers:
        with suppress(ProcessLookupError):
            if server.alive:
                os.kill(server.pid, signal.SIGTERM)
    until_s = monotonic() + 2.0 * keeper.GRACE_S + 5.0
    while any(server.alive for server in servers) and monotonic() < until_s:
        sleep(0.05)
    for path, server in _files(folder):
        if server in servers and not server.alive:
            path.unlink(missing_ok=True)
