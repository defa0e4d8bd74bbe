"""The one writer of a journal: a thread that commits, together, whatever has come meanwhile.

A commit waits for the disk, so one for each step would bound a run to some hundred steps a second.
While one is under way, what comes is gathered for the next (group commit): a step waits for at most
two commits, and a busy run commits many steps at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

Statement = tuple[str, tuple[Any, ...]]
# Makes the statements of an entry, in the writer's thread: encoding a value may take long.
Entry = Callable[[], Iterable[Statement]]
# Told in the event loop once an entry is on the disk, or why it is not.
Then = Callable[[Exception | None], None]
_AT_ONCE = 1024  # entries of one commit, so that those that wait are not kept for ever


class _Waiting(NamedTuple):
    entry: Entry
    then: Then


class Writer:
    """Writes entries in the order in which they come."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread."""
        self._path = path
        self._loop = loop
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, entry: Entry, then: Then) -> None:
        """Write an entry soon; `then` is called for entries in their order."""
        self._queue.put(_Waiting(entry, then))

    def close(self) -> None:
        """Write what has come, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        open_ = True
        while open_:
            batch, open_ = self._gathered()
            if not batch:
                continue
            try:
                if connection is None:
                    connection = _connected(self._path)
                outcomes = _committed(connection, batch)
            except sqlite3.Error as error:
                outcomes = [error] * len(batch)
            self._loop.call_soon_threadsafe(_tell, batch, outcomes)
        if connection is not None:
            connection.close()

    def _gathered(self) -> tuple[list[_Waiting], bool]:
        found = self._queue.get()
        batch: list[_Waiting] = []
        while found is not None:
            batch.append(found)
            if len(batch) == _AT_ONCE or self._queue.empty():
                return batch, True
            found = self._queue.get()
        return batch, False


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _committed(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[Exception | None]:
    """Write entries in one transaction; one that cannot be encoded does not hold up the others."""
    outcomes: list[Exception | None] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for waiting in batch:
            try:
                for sql, values in waiting.entry():
                    connection.execute(sql, values)
            except sqlite3.Error:
                raise
            except Exception as error:  # of encoding it: too deep, no memory, changed meanwhile
                outcomes.append(error)
            else:
                outcomes.append(None)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _tell(batch: list[_Waiting], outcomes: list[Exception | None]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        waiting.then(outcome)
