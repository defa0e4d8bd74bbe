"""Servers kept between runs: files of those that are gone, of strangers, and of reused numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.runtime.serving.warm import WarmServer, birth, end, keep, warm_servers

from .processes import until

_SLEEPS = "import sys, time; print(1, flush=True); time.sleep(1000)"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that is there until it is ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", _SLEEPS], stdout=subprocess.PIPE) as found:
        assert found.stdout is not None
        found.stdout.readline()
        yield found
        found.kill()


def warm(pid: int, **fields: object) -> WarmServer:
    server = WarmServer(
        "f" * 64, "e", "tiny", "m", "http://127.0.0.1:1", "/log", pid, birth(pid) or 0
    )
    return replace(server, **fields)  # type: ignore[arg-type]


def test_a_kept_server_is_found_again(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    server = warm(process.pid)
    keep(tmp_path / "engines", server)
    assert warm_servers(tmp_path / "engines") == [server]
    assert [p.suffix for p in (tmp_path / "engines").iterdir()] == [".json"]


def test_there_are_none_where_there_is_no_folder(tmp_path: Path) -> None:
    assert warm_servers(tmp_path / "none") == []


def test_a_server_that_is_gone_is_forgotten(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    keep(tmp_path, warm(process.pid))
    process.kill()  # and not waited for: a zombie serves nobody
    until(lambda: birth(process.pid) is None)
    assert warm_servers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_keeper_left_is_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-S', '-c', 'import "
    )
    code += "time; time.sleep(1000)']); print(p.pid, flush=True); time.sleep(1000)"
    command = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as keeper:
        assert keeper.stdout is not None
        child = int(keeper.stdout.readline())
        keep(tmp_path, warm(keeper.pid))
        keeper.kill()
        until(lambda: birth(keeper.pid) is None)
        assert birth(child) is not None
        assert warm_servers(tmp_path) == []
        until(lambda: birth(child) is None)


def test_another_process_of_the_same_number_is_neither_taken_for_it_nor_ended(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    impostor = warm(process.pid, born=(birth(process.pid) or 0) - 1)
    keep(tmp_path, impostor)
    end(tmp_path, [impostor])
    assert process.poll() is None
    assert warm_servers(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        "{",
        "{}",
        '{"schema": "murakkab/engine/1"}',
        '{"schema": "murakkab/engine/2"}',
        "\0\1\2",
        "[" * 100_000,
    ],
)
def test_files_of_others_are_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    assert warm_servers(tmp_path) == []
    assert (tmp_path / "other.json").read_text() == content


@pytest.mark.parametrize("change", [{"schema": "murakkab/engine/2"}, {"pid": 1}, {"pid": "7"}])
def test_files_that_only_look_like_ours_are_left_alone(
    tmp_path: Path, process: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    keep(tmp_path, warm(process.pid))
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert warm_servers(tmp_path) == []
    assert path.exists()


def test_ending_waits_until_they_are_gone_and_removes_their_files(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    server, gone = warm(process.pid), warm(process.pid, engine="g", born=1)
    keep(tmp_path, server)
    keep(tmp_path, gone)
    end(tmp_path, [server])
    assert birth(process.pid) is None
    assert [p.name for p in tmp_path.iterdir()] == [f"g-{process.pid}.json"]


def test_a_birth_is_that_of_the_process() -> None:
    mine = birth(os.getpid())
    assert mine is not None and mine > 0 and birth(os.getpid()) == mine
    assert birth(2**22 + 1) is None
