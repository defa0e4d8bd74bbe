"""What the kernel tells of processes, and waiting for them to come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

_PATIENCE_S = 30.0


def runs(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children(pid: int) -> list[int]:
    """Return the processes whose parent is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid and runs(int(entry.name)):
            found.append(int(entry.name))
    return found


def until(true: Callable[[], object]) -> None:
    """Wait for something that will be, fail where it does not come."""
    until_s = monotonic() + _PATIENCE_S
    while not true():
        assert monotonic() < until_s, "it has not come"
        sleep(0.01)


async def until_soon(true: Callable[[], object]) -> None:
    """Wait like `until`, in an event loop."""
    until_s = monotonic() + _PATIENCE_S
    while not true():
        assert monotonic() < until_s, "it has not come"
        await asyncio.sleep(0.01)
