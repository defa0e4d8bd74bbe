"""The writer of a journal: what cannot be written fails alone, and is told."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from murakkab.runtime.journal.writer import Statement, Writer


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("changed"), KeyError("odd")])
def test_an_entry_that_cannot_be_made_is_told_and_others_are_written(
    tmp_path: Path, error: Exception
) -> None:
    path = tmp_path / "x.db"
    sqlite3.connect(path).execute("CREATE TABLE t (n)").connection.close()

    def fails() -> Iterable[Statement]:
        raise error

    async def main() -> list[Exception | None]:
        told: list[Exception | None] = []
        done = asyncio.Event()
        writer = Writer(path, asyncio.get_running_loop())
        writer.put(fails, told.append)

        def last(outcome: Exception | None) -> None:
            told.append(outcome)
            done.set()

        writer.put(lambda: (("INSERT INTO t VALUES (?)", (1,)),), last)
        await done.wait()
        writer.close()
        return told

    assert asyncio.run(main()) == [error, None]
    assert sqlite3.connect(path).execute("SELECT n FROM t").fetchall() == [(1,)]
