"""The analytic model of a language-model server: weights and keys over bandwidth, FLOP over peak.

One decode step of `B` sequences at context `c` on `g` GPUs (tensor parallel) takes

    step = LAYER_S * layers + SEQUENCE_S * B + max(memory, compute) / g + communication
    memory  = (dense weights + experts touched) / (bandwidth * MEMORY_EFFICIENCY) + B * kv(c) / (…)
    compute = 2 * active parameters * B / (peak * COMPUTE_EFFICIENCY)

Of `E` experts, `k` for a token, a batch touches the share 1 - (1 - k/E)^B. The constants
were fitted to the H100 rows of the ML.ENERGY leaderboard v3 (vLLM 0.11.1, six models, 8 to 256
sequences): mean absolute error 6.8 % of the inter-token latency, 7.1 % of the throughput, 7.6 % of
the power. Prompt lengths there are unpublished and were assumed (200 tokens of chat).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .catalog import Model
from .cluster import Gpu, Pool

LAYER_S = 57.6e-6  # kernel launches and scheduling, per layer and step
SEQUENCE_S = 62.8e-6  # sampling and detokenising, per sequence and step
ALL_REDUCE_S = 11.6e-6  # start of one all-reduce; a layer has two
MEMORY_EFFICIENCY = 0.92  # share of the data sheet's bandwidth that is reached
COMPUTE_EFFICIENCY = 0.60  # share of the peak in decode
PREFILL_EFFICIENCY = 0.45  # share of the peak in prefill, attention included
CPU_EFFICIENCY = 0.5  # share of bandwidth and peak that a CPU build of the server reaches
POWER_BASE, POWER_MEMORY, POWER_COMPUTE = 0.254, 0.364, 0.850  # shares of TDP - idle
USABLE_MEMORY = 0.90  # vLLM's default gpu_memory_utilization
RESERVED_BYTES = 2e9  # activations and CUDA graphs, per GPU


@dataclass(frozen=True, slots=True)
class Device:
    """What a replica computes on, in total: bytes/s, FLOP/s, bytes, watts of one of `count`."""

    count: int
    bandwidth: float
    peak: float
    memory: float
    link: float
    idle_w: float
    busy_w: float


def gpu_device(gpu: Gpu, count: int) -> Device:
    """Return `count` GPUs of one node as one device; the rate is that of 16-bit tensors."""
    rates = dict(gpu.peak_flops)
    peak = rates.get("bf16", rates.get("fp16", max(rates.values())))
    return Device(
        count,
        gpu.bandwidth_bytes_s * count,
        peak * count,
        count * (gpu.memory_bytes * USABLE_MEMORY - RESERVED_BYTES),
        gpu.link_bytes_s,
        gpu.idle_w,
        gpu.tdp_w,
    )


def cpu_device(pool: Pool, cores: int) -> Device:
    """Return some cores of a node as a device, with their share of bandwidth, peak and power."""
    cpu = pool.cpu
    share = cores / cpu.cores
    return Device(
        1,
        cpu.bandwidth_bytes_s * share * CPU_EFFICIENCY / MEMORY_EFFICIENCY,
        cpu.peak_flops * share * CPU_EFFICIENCY / COMPUTE_EFFICIENCY,
        pool.memory_bytes * USABLE_MEMORY - RESERVED_BYTES,
        1.0,
        cpu.idle_w * share,
        cpu.busy_w * share,
    )


class Roofline:
    """A model on a device: times in seconds, power in watts; everything constant is precomputed."""

    __slots__ = (
        "_all_reduce",
        "_compute",
        "_dense",
        "_device",
        "_fixed",
        "_kv_bandwidth",
        "_model",
        "_prefill",
        "_routed",
        "_untouched",
    )

    def __init__(self, model: Model, device: Device) -> None:
        """Prepare the coefficients; time and memory come from them alone."""
        bytes_per_param = model.weight_bytes / model.params
        routed = model.routed_params * bytes_per_param
        bandwidth = device.bandwidth * MEMORY_EFFICIENCY
        hops = 2 * model.layers if device.count > 1 else 0
        ring = 2 * (device.count - 1) / device.count  # bytes moved per byte in a ring all-reduce
        self._model = model
        self._device = device
        self._fixed = LAYER_S * model.layers + hops * ALL_REDUCE_S
        self._dense = (model.weight_bytes - routed) / bandwidth
        self._routed = routed / bandwidth
        self._untouched = 1 - model.experts_per_token / model.experts if model.experts else 0.0
        self._kv_bandwidth = bandwidth
        self._compute = 2 * model.active_params / (device.peak * COMPUTE_EFFICIENCY)
        self._all_reduce = hops * ring * model.hidden * 2 / device.link
        self._prefill = (
            2 * model.active_params / (device.peak * PREFILL_EFFICIENCY) + self._all_reduce
        )

    def step_s(self, batch: float, context: float) -> float:
        """Return the time of one decode step of `batch` sequences of `context` tokens."""
        own = self._fixed + batch * (SEQUENCE_S + self._all_reduce)
        return own + max(self._memory_s(batch, context), batch * self._compute)

    def prefill_s(self, tokens: float) -> float:
        """Return the time to read a prompt of this many tokens, alone."""
        return tokens * self._prefill

    def power_w(self, batch: float, context: float) -> float:
        """Return the draw of the whole device while decoding."""
        step = self.step_s(batch, context)
        memory = min(1.0, self._memory_s(batch, context) / step)
        compute = min(1.0, batch * self._compute / step)
        share = POWER_BASE + POWER_MEMORY * memory + POWER_COMPUTE * math.sqrt(compute)
        device = self._device
        return device.count * (device.idle_w + min(1.0, share) * (device.busy_w - device.idle_w))

    def sequences(self, tokens: float) -> float:
        """Return how many sequences of this length the memory beside the weights holds."""
        left = self._device.memory - self._model.weight_bytes
        held = self._model.kv_bytes(max(tokens, 1.0))
        if not held:
            return math.inf if left >= 0 else 0.0  # a model that keeps nothing between its steps
        return left / held

    def _memory_s(self, batch: float, context: float) -> float:
        weights = self._dense
        if self._routed:
            weights += self._routed * (1 - self._untouched**batch)
        return weights + batch * self._model.kv_bytes(context) / self._kv_bandwidth
