"""What the performance model knows of one GPU, or of some cores of a CPU as if they were one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .catalog import CpuKind
from .cluster import Cpu, Gpu
from .perfconstants import CONSTANTS, CPU_EFFICIENCY, RUNTIME_BYTES

ANY_MEMORY = 1e15  # bytes, of a CPU of which it is not known what memory stands beside it


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator: bytes, bytes/s, FLOP/s by precision, watts.

    peer_access: GPUs of a node reach each other's memory without the host's help. computes_4_bit:
    products take 4-bit weights as they are.
    """

    type: str
    memory_bytes: float
    bandwidth_bytes_s: float
    rates: tuple[tuple[str, float], ...]
    link_bytes_s: float
    peer_access: bool
    computes_4_bit: bool
    idle_w: float
    busy_w: float
    runtime_bytes: float
    is_gpu: bool = True

    def rate(self, precision: str) -> float:
        """Return the peak in a precision; that of 16 bits where the device has no such units."""
        rates = dict(self.rates)
        return rates.get(precision) or rates.get("bf16") or rates["fp16"]


def gpu_device(gpu: Gpu) -> Device:
    """Return a GPU of the catalogue as the model sees it."""
    return Device(
        type=gpu.type,
        memory_bytes=gpu.memory_bytes,
        bandwidth_bytes_s=gpu.bandwidth_bytes_s,
        rates=gpu.peak_flops,
        link_bytes_s=gpu.link_bytes_s,
        peer_access=gpu.link_kind != "pcie",
        computes_4_bit="fp4" in dict(gpu.peak_flops),
        idle_w=gpu.idle_w,
        busy_w=gpu.tdp_w,
        runtime_bytes=RUNTIME_BYTES,
    )


def cpu_device(cpu: Cpu, cores: int, memory_bytes: float) -> Device:
    """Return some cores of a node: their share of bandwidth, peak and power, all of its memory.

    The shares of the data sheet that GPUs reach are taken out, so that `CPU_EFFICIENCY` is what
    remains of it.
    """
    share = cores / cpu.cores
    rate = cpu.peak_flops * share * CPU_EFFICIENCY / CONSTANTS.compute
    return Device(
        type="cpu",
        memory_bytes=memory_bytes,
        bandwidth_bytes_s=cpu.bandwidth_bytes_s * share * CPU_EFFICIENCY / CONSTANTS.memory,
        rates=(("bf16", rate),),
        link_bytes_s=1.0,
        peer_access=True,
        computes_4_bit=False,
        idle_w=cpu.idle_w * share,
        busy_w=cpu.busy_w * share,
        runtime_bytes=RUNTIME_BYTES,
        is_gpu=False,
    )


def processor_device(kind: CpuKind) -> Device:
    """Return one socket of a CPU of the catalogue, with all the memory that a model wants."""
    return replace(cpu_device(kind.node(kind.cores), kind.cores, ANY_MEMORY), type=kind.type)
