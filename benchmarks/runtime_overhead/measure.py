"""What one side did, as one line of JSON: seconds, CPU seconds of all its processes, memory."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def measure(work: Callable[[], None]) -> None:
    """Run the work once and print its wall time, CPU time and peak resident memory (MiB).

    CPU and memory are of this process and all that it started and that still run.
    """
    before_s = _cpu_s()
    began_s = time.perf_counter()
    work()
    wall_s = time.perf_counter() - began_s
    cpu_s = _cpu_s() - before_s
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": own_mib}))


def _cpu_s() -> float:
    """Return the CPU seconds of this process's tree so far (Linux)."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))  # own and waited-for children's, user and system
    mine = {os.getpid()}
    found = True
    while found:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine |= more
        found = bool(more)
    return sum(ticks[pid] for pid in mine if pid in ticks) * _TICK_S
