"""Cluster descriptions: what hardware there is (`cluster.toml`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of the catalogue; peak FLOP/s are dense tensor rates by precision."""

    type: str
    memory_bytes: float
    bandwidth_bytes_s: float
    peak_flops: tuple[tuple[str, float], ...]
    tdp_w: float
    idle_w: float
    link_bytes_s: float  # one direction, to peers inside the node
    source: str


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU of the catalogue or of this host; watts are of all the node's cores together."""

    type: str
    cores: int
    busy_w: float
    idle_w: float
    source: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Identical nodes: GPUs, CPU, memory (bytes) and price (USD per node and second)."""

    name: str
    nodes: int
    cpu: Cpu
    gpu: Gpu | None
    gpus: int
    memory_bytes: float
    usd_per_s: float
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pools of nodes; `digest` is of the file's content."""

    name: str
    pools: tuple[Pool, ...]
    digest: str = ""
