"""The file of a journal: its tables, how it is opened, and what is wrong with one that is not ours.

SQLite in WAL mode with `synchronous=FULL`: what is committed survives the process and the machine.
One process writes at a time, held by a lock on the file; others may read.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from ...ir.diagnostics import Diagnostic, InputError

APPLICATION_ID: Final = 0x4D4B424A  # `MKBJ`, by which SQLite files are told apart
VERSION: Final = 1
_MOST_RESUMED = 1 << 31
_TABLES = """
CREATE TABLE run (
    id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    begun_at TEXT NOT NULL,
    plan TEXT NOT NULL,
    plan_sha256 TEXT NOT NULL,
    inputs TEXT NOT NULL,
    inputs_sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    why TEXT,
    resumed INTEGER NOT NULL DEFAULT 0,
    memo TEXT NOT NULL
);
CREATE TABLE step (instance TEXT PRIMARY KEY, result TEXT NOT NULL, usage TEXT);
CREATE TABLE part (
    instance TEXT, begin INTEGER, items TEXT NOT NULL, PRIMARY KEY (instance, begin)
);
CREATE TABLE effect (instance TEXT PRIMARY KEY, state TEXT NOT NULL, why TEXT);
CREATE TABLE content (sha256 TEXT PRIMARY KEY, bytes BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Header:
    """What a journal says of its run.

    `state` is `running` (also where a run was killed), `failed`, `interrupted`, `stopped`,
    `partial` or `done`; `why` tells more. `resumed` counts how often it was taken up again. `memo`
    is what whoever began it wants to know when it is taken up, as JSON.
    """

    id: str
    workflow: str
    begun_at: str
    plan: str
    plan_sha256: str
    inputs: str
    inputs_sha256: str
    state: str
    why: str | None
    resumed: int
    memo: str


def unusable(path: Path, why: str, help: str | None = None) -> InputError:
    """Return the error of a journal that cannot be read or written, or holds what it must not."""
    return InputError(Diagnostic("bad-journal", f"journal `{path}`: {why}", help=help))


def create(path: Path, header: Header, contents: Mapping[str, bytes]) -> None:
    """Write a new journal, with the content of inputs by its digest.

    Raises `InputError` where there is a file already, or none can be.
    """
    # of a name that no other run has, which may begin the same journal at this moment
    unfinished = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(unfinished, header, contents)
        os.link(unfinished, path)  # whole from the first moment on, and never over another
        _sync(path.parent)
    except FileExistsError:
        message = f"there is a journal `{path}` already"
        hint = "go on with it by `--resume`, or name another file"
        raise InputError(Diagnostic("journal-exists", message, help=hint)) from None
    except (OSError, sqlite3.Error) as error:
        raise unusable(path, f"cannot be written: {error}") from None
    finally:
        with suppress(OSError):
            remove(unfinished)


def _write(path: Path, header: Header, contents: Mapping[str, bytes]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN; {_TABLES}")
        columns = ", ".join(Header.__slots__)
        marks = ", ".join("?" * len(Header.__slots__))
        row = [getattr(header, name) for name in Header.__slots__]
        connection.execute(f"INSERT INTO run ({columns}) VALUES ({marks})", row)
        connection.executemany("INSERT INTO content VALUES (?, ?)", contents.items())
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")


def _sync(folder: Path) -> None:
    """Have a new name in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_header(path: Path) -> Header:
    """Return what a journal says of its run; raises `InputError` where it is none of ours."""
    with reading(path) as connection:
        return header_of(connection, path)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal to read; raises `InputError` for what SQLite cannot make sense of."""
    if not path.is_file():
        hint = "`mkb runs` lists the runs that can be taken up"
        raise InputError(Diagnostic("no-journal", f"there is no journal `{path}`", help=hint))
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise unusable(path, f"cannot be opened: {error}") from None
    try:
        yield connection
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # what damage looks like to it
        raise unusable(path, f"is not a journal, or is damaged: {error}") from None
    finally:
        connection.close()


def header_of(connection: sqlite3.Connection, path: Path) -> Header:
    """Return the header; raises `InputError` where the file is not a journal of this version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise unusable(path, "is an SQLite file of something else")
    if version != VERSION:
        hint = "go on with the version of Murakkab that wrote it"
        raise unusable(path, f"has version {version}, this Murakkab reads {VERSION}", hint)
    if _layout(connection) != _own_layout():
        raise unusable(path, "is damaged: its tables are not as they were made")
    columns = ", ".join(Header.__slots__)
    row = connection.execute(f"SELECT {columns} FROM run").fetchone()
    if row is None:
        raise unusable(path, "holds no run")
    found = Header(*row)
    texts = [getattr(found, name) for name in Header.__slots__ if name not in ("why", "resumed")]
    counted = isinstance(found.resumed, int) and 0 <= found.resumed < _MOST_RESUMED
    if not all(isinstance(text, str) for text in texts) or not counted:
        raise unusable(path, "is damaged: its header is not as it was written")
    return found


def _layout(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


@lru_cache(maxsize=1)
def _own_layout() -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return _layout(connection)


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `InputError` where pages of the file are damaged."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise unusable(path, f"is damaged: {found}", "begin the run anew")


class Lock:
    """Keeps other processes from writing a journal; the kernel gives it back when this one dies.

    It stands on a file of its own beside the journal: closing any descriptor of the journal itself
    would give back SQLite's locks.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; raises `InputError` where another process has it."""
        self._path = path.with_name(path.name + "-lock")
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(path, f"cannot be locked: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            message = f"another run is writing journal `{path}`"
            hint = "wait until that run has ended, or stop it"
            raise InputError(Diagnostic("journal-in-use", message, help=hint)) from None

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def is_in_use(path: Path) -> bool:
    """Tell whether a run is writing a journal now."""
    if not path.with_name(path.name + "-lock").exists():
        return False
    try:
        Lock(path).release()
    except InputError:
        return True
    return False


def remove(path: Path) -> None:
    """Delete a journal and what SQLite and the lock keep beside it."""
    for suffix in ("", "-wal", "-shm", "-lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
