"""The folder of a cache: a file for each entry, bounded in size, for several processes at once.

There is no lock and no index, so nothing that a killed process could leave wrong. An entry comes
whole by renaming a finished file; two processes that write the same one write the same; a reader
has the file open, so eviction takes nothing from under it. What was used last is the time of the
file: the least recently used go first. A power cut may tear an entry, which its digest shows.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_FORMAT = "results-1"  # a folder of its own: other formats, and other files, are left alone
_NAME = re.compile(r"[0-9a-f]{62}(\.[0-9]+-[0-9]+\.part)?")
_BLOCK_BYTES = 4096  # what files take on disks comes in these
_ABANDONED_S = 3600.0  # a file that is being written for so long belongs to a killed process
_UNSEEN = 16  # a part of the limit that is written before the whole folder is looked at again
_KEPT = 7 / 8  # of the limit after eviction, so that it is not done for every entry


class _Found(NamedTuple):
    used_at: float
    path: Path
    size: int


class Store:
    """Bytes by keys of 64 hexadecimal digits; safe in several threads and processes."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Keep entries in a folder; it is made when the first is written."""
        self._root = folder / _FORMAT
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._size: int | None = None  # None: not looked at yet
        self._unseen = 0
        self._written = 0

    def get(self, key: str) -> bytes | None:
        """Return an entry, which then counts as used; None where it cannot be had."""
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                small = os.fstat(file.fileno()).st_size <= self._limit
                data = (file.read() or b"") if small else b""
        except OSError:
            return None
        with suppress(OSError):  # evicted meanwhile, or a folder that may only be read
            os.utime(path)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep an entry, and let others go where that is too much; raises `OSError`."""
        if _taken(len(data)) > self._limit:
            return
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            self._written += 1
            unfinished = path.with_name(f"{path.name}.{os.getpid()}-{self._written}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            with open(os.open(unfinished, flags, 0o600), "wb") as file:
                file.write(data)
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        self._count(_taken(len(data)))

    def drop(self, key: str) -> None:
        """Remove an entry that is no good."""
        with suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / key[2:]

    def _count(self, size: int) -> None:
        """Count what was written; look at the folder where it may be too much by now."""
        with self._lock:
            self._unseen += size
            seen = self._size is not None and self._unseen <= self._limit // _UNSEEN
            if seen and self._size + self._unseen <= self._limit:  # type: ignore[operator]
                return
            self._size, self._unseen = self._evicted(), 0

    def _evicted(self) -> int:
        """Let the least recently used entries go, if they are too many; return what is left."""
        entries = sorted(self._entries())
        size = sum(entry.size for entry in entries)
        if size <= self._limit:
            return size
        for entry in entries:
            if size <= self._limit * _KEPT:
                break
            with suppress(OSError):  # another process was faster
                entry.path.unlink()
            size -= entry.size
        return size

    def _entries(self) -> Iterator[_Found]:
        """Yield what is in the folder; remove what killed processes have left half written."""
        abandoned = time.time() - _ABANDONED_S
        for name in _names(self._root):
            for entry in _names(self._root / name):
                path = self._root / name / entry
                if _NAME.fullmatch(entry) is None:
                    continue
                try:
                    stat = path.lstat()
                    if entry.endswith(".part") and stat.st_mtime < abandoned:
                        path.unlink()
                        continue
                except OSError:
                    continue
                yield _Found(stat.st_mtime, path, _taken(stat.st_size))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _taken(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
