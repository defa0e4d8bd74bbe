"""This host as a cluster of one node: /proc, cgroup limits, NVML."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import import_module
from pathlib import Path
from typing import Any

from .catalog import GENERIC_CPU, load_catalog
from .cluster import Cluster, Gpu, Pool, to_toml

_DEFAULT_MEMORY_BYTES = 4e9  # where neither /proc nor a cgroup says


def detect_host(root: Path = Path("/")) -> Cluster:
    """Return this machine: cores and memory within its cgroup's limits, GPUs the catalogue knows.

    `root` is where `/proc` and `/sys` are looked for. A host has no price. GPUs of several types
    cannot stand in one pool: the most frequent type is taken.
    """
    gpu, count = _gpus()
    cpu = load_catalog().cpus[GENERIC_CPU].node(_cores(root))
    pool = Pool("host", 1, cpu, gpu, count, _memory_bytes(root), 0.0)
    bare = Cluster(platform.node() or "host", (pool,))
    # the same hardware has the same digest as the file `to_toml` writes for it
    return Cluster(bare.name, bare.pools, hashlib.sha256(to_toml(bare).encode()).hexdigest())


def _cores(root: Path) -> int:
    """Return the CPUs this process may use: its affinity, or its cgroup's quota if that is less."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = usable or 1
    quota = _cgroup_cpus(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _cgroup_cpus(root: Path) -> float | None:
    """Return the quota of cgroup v2 (`cpu.max`) or v1 (`cpu.cfs_*_us`) in CPUs, if one is set."""
    parts = _read(root / "sys/fs/cgroup/cpu.max").split()
    if len(parts) == 2 and parts[0].isdigit():
        return int(parts[0]) / int(parts[1])
    quota = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
    period = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _memory_bytes(root: Path) -> float:
    """Return physical memory, or the cgroup's limit if that is less."""
    found = []
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            found.append(int(line.split()[1]) * 1024.0)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _read(root / "sys/fs/cgroup" / name).strip()
        if limit.isdigit():
            found.append(float(limit))
    return min(found, default=_DEFAULT_MEMORY_BYTES)


def _read(path: Path) -> str:
    """Return a file's text; systems without it have an empty one."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _gpus() -> tuple[Gpu | None, int]:
    """Return the type and number of GPUs NVML reports and the catalogue knows."""
    try:
        pynvml: Any = import_module("pynvml")
    except ImportError:
        return None, 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # the library is there, a driver is not
        return None, 0
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return _most_frequent(names)


def _most_frequent(names: list[str]) -> tuple[Gpu | None, int]:
    catalog = load_catalog()
    plain = (name.removeprefix("NVIDIA ").removeprefix("AMD ") for name in names)
    known = [catalog.gpus[name] for name in plain if name in catalog.gpus]
    if not known:
        return None, 0
    best = max(known, key=known.count)
    return best, known.count(best)
