"""The folder of a cache: several processes, eviction, killed writers, damage."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from murakkab.ir.types import Base, ListOf
from murakkab.runtime.cache.entry import packed, unpacked
from murakkab.runtime.cache.store import Store
from murakkab.runtime.journal.codec import ValueLost
from murakkab.runtime.media import Media

# Writes and reads entries: folder, limit in bytes, the first and the last number, then for ever.
WORK = """
import sys
from pathlib import Path
from tests.runtime.cache.test_store import content, key
from murakkab.runtime.cache.store import Store
store = Store(Path(sys.argv[1]), int(sys.argv[2]))
again = True
while again:
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        store.put(key(number), content(number))
        found = store.get(key(number * 7 % 100))
        assert found is None or found == content(number * 7 % 100), number
    print("round", flush=True)
    again = sys.argv[5] == "on"
"""
ROOT = Path(__file__).parents[3]


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def content(number: int) -> bytes:
    return str(number).encode() * (3000 + number)


def taken(folder: Path) -> int:
    """Return what entries take, as the store counts it."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(-(-size // 4096) * 4096 for size in sizes)


def worker(folder: Path, limit: int, first: int, last: int, on: str) -> subprocess.Popen[bytes]:
    arguments = [str(folder), str(limit), str(first), str(last), on]
    command = [sys.executable, "-c", WORK, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 8 * 4096)
    for number in range(8):
        store.put(key(number), b"x")
        path = next(tmp_path.rglob(key(number)[2:]))
        os.utime(path, (1000 + number, 1000 + number))
    assert store.get(key(0)) == b"x"  # used now, so not the oldest any more
    store.put(key(8), b"x")
    assert [number for number in range(9) if store.get(key(number))] == [0, 3, 4, 5, 6, 7, 8]
    assert taken(tmp_path) <= 8 * 4096


def test_an_entry_over_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, 4096)
    store.put(key(1), b"x" * 4097)
    assert store.get(key(1)) is None
    assert not list(tmp_path.iterdir())


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, 4096)
    store.put(key(1), b"x")
    mine = [tmp_path / "mine", next(tmp_path.rglob(key(1)[2:])).with_name("notes")]
    for path in mine:
        path.write_bytes(b"y" * 100_000)
        os.utime(path, (1, 1))
    store.put(key(2), b"x")
    store.put(key(3), b"x")
    assert all(path.exists() for path in mine)


def test_processes_write_while_another_evicts(tmp_path: Path) -> None:
    limit = 300_000  # a few dozen entries of a hundred
    workers = [worker(tmp_path, limit, *span, "off") for span in ((0, 60), (30, 90), (0, 90))]
    for process in workers:
        process.communicate()
        assert process.returncode == 0
    Store(tmp_path, limit).put(key(1000), b"the last looks at all")
    assert taken(tmp_path) <= limit
    assert not list(tmp_path.rglob("*.part"))
    found = [number for number in range(100) if Store(tmp_path, limit).get(key(number))]
    assert found
    assert all(Store(tmp_path, limit).get(key(n)) == content(n) for n in found)


def test_a_writer_that_is_killed_leaves_whole_entries(tmp_path: Path) -> None:
    limit = 300_000
    for _ in range(2):
        process = worker(tmp_path, limit, 0, 100, "on")
        assert process.stdout is not None
        assert process.stdout.readline() == b"round\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    store = Store(tmp_path, limit)
    entries = [store.get(key(number)) for number in range(100)]
    assert any(entries)
    assert all(found in (None, content(n)) for n, found in enumerate(entries))
    # what it may have left half written is removed once it is old
    left = next(tmp_path.rglob("??")) / f"{key(7)[2:]}.4711-1.part"
    left.write_bytes(b"half")
    os.utime(left, (1000, 1000))
    store.put(key(1), content(1))
    assert not left.exists()


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "empty"])
def test_what_is_no_entry_is_a_miss(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path, 100_000)
    store.put(key(1), b"x")
    path = next(tmp_path.rglob(key(1)[2:]))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.touch()
    assert not store.get(key(1))


def test_media_are_kept_with_their_content() -> None:
    value = [Media("image", data=b"one\ntwo"), Media("image", data=b""), None]
    kind = ListOf(Base("Image"))
    data = packed("k", value[:2])
    assert unpacked("k", kind, data) == value[:2]


def test_every_damage_shows() -> None:
    data = packed("k", "a text")
    for place in range(len(data)):
        torn = (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        for damaged in torn:
            with pytest.raises(ValueLost):
                unpacked("k", Base("Text"), damaged)
    with pytest.raises(ValueLost):
        unpacked("other", Base("Text"), data)


@pytest.mark.parametrize("head", [b"[]", b"{}", b"1", b"[" * 100_000, b'{"contents": [1]}'])
def test_a_sound_digest_over_nonsense_is_a_miss(head: bytes) -> None:
    body = head + b"\n"
    data = hashlib.sha256(b"k" + body).hexdigest().encode() + b"\n" + body
    with pytest.raises(ValueLost):
        unpacked("k", Base("Text"), data)


def test_a_value_of_another_type_is_a_miss() -> None:
    with pytest.raises(ValueLost):
        unpacked("k", Base("Int"), packed("k", json.dumps(1)))
