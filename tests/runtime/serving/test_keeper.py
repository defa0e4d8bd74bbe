"""The keeper: whatever ends, by itself or by force, nothing of a server is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from murakkab.runtime.serving import keeper

from .processes import runs, until

# The keeper as it is, but for its patience with those that do not end when they are asked.
_IMPATIENT = (
    "import sys; sys.path.insert(0, {folder!r}); import keeper; keeper.GRACE_S = 0.2;"
    " sys.exit(keeper.main(sys.argv[1:]))"
)
# A server with a child that has a child; the last does not end when it is asked. Each writes its
# number when it is ready.
_FAMILY = """
import os, signal, sys, time
folder, exits = sys.argv[1], sys.argv[2:]
def born(name):
    with open(f"{folder}/{name}.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{folder}/{name}.part", f"{folder}/{name}")
if not os.fork():
    if not os.fork():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        born("grandchild")
        time.sleep(1000)
    born("child")
    time.sleep(1000)
born("server")
while exits and not os.path.exists(f"{folder}/grandchild"):
    time.sleep(0.005)
if exits:
    sys.exit(int(exits[0]))
time.sleep(1000)
"""
Keep = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Return a function that starts the family under a keeper; none of it outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*exits: str, lifeline: bool = False) -> subprocess.Popen[bytes]:
        (tmp_path / "family.py").write_text(_FAMILY)
        code = _IMPATIENT.format(folder=str(Path(keeper.__file__).parent))
        server = [sys.executable, str(tmp_path / "family.py"), str(tmp_path), *exits]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *(["--lifeline"] if lifeline else []), *server],
            stdin=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for name in ("server", "child", "grandchild"):
        if (tmp_path / name).exists() and runs(pid := int((tmp_path / name).read_text())):
            os.kill(pid, signal.SIGKILL)


def family(folder: Path) -> list[int]:
    """Return the three processes, once they are all there."""
    names = ("server", "child", "grandchild")
    until(lambda: all((folder / name).exists() for name in names))
    return [int((folder / name).read_text()) for name in names]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_keeper_that_is_asked_to_end_ends_the_whole_group(
    keep: Keep, tmp_path: Path, number: signal.Signals
) -> None:
    process = keep()
    members = family(tmp_path)
    process.send_signal(number)
    assert process.wait() == 0
    assert [runs(pid) for pid in members] == [False, False, False]


@pytest.mark.parametrize("status", [0, 3])
def test_the_group_ends_with_its_first_process_whose_status_is_the_keepers(
    keep: Keep, tmp_path: Path, status: int
) -> None:
    process = keep(str(status))
    assert process.wait() == status
    assert [runs(pid) for pid in family(tmp_path)] == [False, False, False]


def test_a_group_of_which_the_first_process_was_killed_ends_as_well(
    keep: Keep, tmp_path: Path
) -> None:
    process = keep()
    members = family(tmp_path)
    os.kill(members[0], signal.SIGKILL)
    assert process.wait() == keeper.KILLED
    assert [runs(pid) for pid in members] == [False, False, False]


def test_a_stopped_group_ends_too(keep: Keep, tmp_path: Path) -> None:
    process = keep()
    members = family(tmp_path)
    os.killpg(members[0], signal.SIGSTOP)
    process.terminate()
    assert process.wait() == 0
    assert [runs(pid) for pid in members] == [False, False, False]


def test_the_group_ends_when_the_lifeline_closes(keep: Keep, tmp_path: Path) -> None:
    process = keep(lifeline=True)
    members = family(tmp_path)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0
    assert [runs(pid) for pid in members] == [False, False, False]


def test_without_a_lifeline_a_closed_input_ends_nothing(keep: Keep, tmp_path: Path) -> None:
    process = keep()
    members = family(tmp_path)
    assert process.stdin is not None
    process.stdin.close()
    # it would have been seen before the signal, which comes later and by the same way
    os.kill(members[1], signal.SIGKILL)
    until(lambda: not runs(members[1]))
    assert [runs(pid) for pid in members] == [True, False, True]
    process.terminate()
    process.wait()


_RUNTIME = """
import asyncio, os, signal, sys
from pathlib import Path
from murakkab.runtime.serving.command import ServerCommand
from murakkab.runtime.serving.server import start_server
folder = Path(sys.argv[1])
async def ready(url):
    return (folder / "grandchild").exists()
async def main():
    program = (sys.executable, str(folder / "family.py"), str(folder))
    # the family takes no port
    cut = "import os, sys; os.execv(sys.argv[1], sys.argv[1:4])"
    command = ServerCommand((sys.executable, "-c", cut, *program), (), "m")
    await start_server(command, folder / "log", ready)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_no_server_outlives_a_runtime_that_is_killed(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "family.py").write_text(_FAMILY.replace("signal.SIG_IGN", "signal.SIG_DFL"))
    (tmp_path / "runtime.py").write_text(_RUNTIME)
    done = subprocess.run([sys.executable, str(tmp_path / "runtime.py"), str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    members = family(tmp_path)
    until(lambda: not any(map(runs, members)))


def test_the_first_process_does_not_outlive_a_killed_keeper(keep: Keep, tmp_path: Path) -> None:
    process = keep()
    members = family(tmp_path)
    process.kill()
    process.wait()
    until(lambda: not runs(members[0]))
