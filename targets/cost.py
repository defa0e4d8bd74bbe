"""The cost protocol: every figure a pass uses about hardware comes through here.

A pass asks; it never computes hardware figures itself, so that the model behind the protocol can
be replaced without touching a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ..ir.ops import Attr
from .cluster import Cluster, Pool
from .library import Executor

Provenance = Literal["measured", "shipped", "analytic", "declared"]
BANDS: Mapping[Provenance, float] = {
    "measured": 0.10,
    "shipped": 0.20,
    "analytic": 0.30,
    "declared": 1.0,
}
# standard normal quantiles: the tail beyond p90 is taken as log-normal
_Z90, _Z95, _Z99 = 1.2816, 1.6449, 2.3263


@dataclass(frozen=True, slots=True)
class Work:
    """What one call costs, in the units a profile is expressed in; (p50, p90) of each.

    Language models: `prompt_tokens`, `output_tokens`. Others: `items` (images, seconds of audio,
    calls: whatever the executor's profile counts).
    """

    prompt_tokens: tuple[float, float] = (0.0, 0.0)
    output_tokens: tuple[float, float] = (0.0, 0.0)
    items: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one replica of an executor can stand: a pool, a device kind, a number of GPUs.

    `pool` None is a hosted service. `gpus` is the tensor-parallel degree on GPUs, 0 on CPUs.
    """

    pool: Pool | None
    device: Literal["cpu", "gpu", "remote"]
    gpus: int = 0

    def __str__(self) -> str:
        """Return `a100/gpu x4`, `laptop/cpu`, `remote`: the form plans and dumps show."""
        if self.pool is None:
            return "remote"
        return f"{self.pool.name}/{self.device}" + (f" x{self.gpus}" if self.gpus else "")


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds at each percentile."""

    p50: float
    p90: float
    p95: float
    p99: float

    @staticmethod
    def log_normal(p50: float, p90: float) -> Latency:
        """Return the percentiles of the log-normal through the median and the 90th percentile."""
        p90 = max(p50, p90)
        spread = math.log(p90 / p50) / _Z90 if p50 > 0 else 0.0
        return Latency(p50, p90, p50 * math.exp(_Z95 * spread), p50 * math.exp(_Z99 * spread))

    def at(self, percentile: str) -> float:
        """Return the value at `p50`, `p90`, `p95` or `p99`."""
        return {"p50": self.p50, "p90": self.p90, "p95": self.p95, "p99": self.p99}[percentile]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One replica of an executor in a slot, with `concurrency` calls of one size in flight.

    latency: one call. calls_per_s: completed by the replica. busy_w, idle_w: draw of everything the
    replica holds, working at this concurrency and idle. usd_per_s: share of the node's price while
    held; usd_per_call: a hosted service's price. memory_bytes: host memory; gpu_memory_bytes: each
    GPU's; kv_cache_bytes: host memory for keys and values of a model server on a CPU. wake_s: from
    the last work of another server on the same GPUs to the first of this one, which was asleep with
    its weights in asleep_bytes of host memory beside memory_bytes (0: it cannot sleep). error_band:
    relative, of time and energy (0.2 is +-20 %).
    """

    latency: Latency
    calls_per_s: float
    startup_s: float
    busy_w: float
    idle_w: float
    usd_per_s: float
    usd_per_call: float
    cores: int
    memory_bytes: float
    gpu_memory_bytes: float
    source: Provenance
    error_band: float
    kv_cache_bytes: float = 0.0
    wake_s: float = 0.0
    asleep_bytes: float = 0.0


class CostModel(Protocol):
    """Predicts what executors take on a cluster's hardware."""

    @property
    def digest(self) -> str:
        """Return a digest of the data the figures come from."""

    def slots(self, executor: Executor, cluster: Cluster) -> tuple[Slot, ...]:
        """Return where one replica can stand (its memory fits), in a fixed order."""

    def concurrencies(self, executor: Executor, slot: Slot) -> tuple[int, ...]:
        """Return the load points worth considering, ascending."""

    def estimate(
        self,
        executor: Executor,
        knobs: Mapping[str, Attr],
        slot: Slot,
        work: Work,
        concurrency: int,
    ) -> Estimate:
        """Return what one replica takes with this many equal calls in flight."""

    def why_not(self, executor: Executor, cluster: Cluster) -> str | None:
        """Return why an executor has no slot on a cluster, in words, or None when it has one."""
