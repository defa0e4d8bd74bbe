"""The constants of the performance model: few, fitted on published measurements of many models.

`benchmarks/model_accuracy/fit.py` refits them and prints this file's values. Fitted on: ML.ENERGY
leaderboard v3 (commit 0cd52da, vLLM 0.11.1 on H100) and the end-to-end rows shipped with
aiconfigurator-core 0.12.0 (`systems/silicon_sample.csv`: TensorRT-LLM on H100 and H200, vLLM 0.18
on H200). Engines without rows there say so in their comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Engine:
    """What a version of a server costs beside its kernels; seconds.

    step_s: scheduling and launch of one step; layer_s: launches, for each layer and step;
    sequence_s: sampling and detokenising, for each sequence and step; prefill_layer_s: what a step
    with prompts costs more, for each layer; first_token_s: HTTP, tokenising and queues of a
    request. slot_wait: share of the time between two completions that a new request waits for a
    place. small_cache: an fp8 model caches keys and values in 8 bits. reserves: a sequence holds
    the memory of its whole output from its start.
    """

    step_s: float
    layer_s: float
    sequence_s: float
    prefill_layer_s: float
    first_token_s: float = 0.0164
    slot_wait: float = 0.0
    small_cache: bool = False
    reserves: bool = False


@dataclass(frozen=True, slots=True)
class Constants:
    """Shares of the data sheet that kernels reach, and latencies of communication.

    memory, cache: of the bandwidth, reading weights and cached keys; packed: times `memory`, where
    4-bit weights are unpacked in software. compute: of the peak in matrix products; fp8: times
    `compute` in 8 bits; expert_compute: times `compute` in products of experts. overlap: p of the
    p-norm of memory and compute time (1 is their sum, infinity the longer one). all_reduce_s, link:
    start of an all-reduce and share of the link's bandwidth; ring_s: start of one that moves less.
    imbalance: most loaded GPU over the mean under expert parallelism. routing: shape of the gamma
    distribution of experts' popularity. burst: a prompt's wait is its prefill times `wait` times
    concurrency to the power of `burst`.
    power_…: draw as a share of TDP - idle: base, by the root of the share of peak FLOP/s, by the
    share of time in attention, and less where GPUs wait for each other, by 1 - 1 / GPUs.
    """

    memory: float = 0.876
    packed: float = 0.639
    cache: float = 0.890
    compute: float = 0.790
    fp8: float = 0.838
    expert_compute: float = 0.481
    overlap: float = 1.69
    all_reduce_s: float = 4.63e-6
    ring_s: float = 22.7e-6
    link: float = 0.714
    imbalance: float = 1.28
    routing: float = 2.33
    wait: float = 0.956
    burst: float = 0.520
    power_base: float = 0.518
    power_compute: float = 0.781
    power_attention: float = 0.316
    power_sharing: float = 0.121
    engines: Mapping[str, tuple[tuple[str, Engine], ...]] = field(default_factory=lambda: ENGINES)


# Without peer access (PCIe): an all-reduce's start over that of NVLink, and what it reaches of the
# link over what it reaches of NVLink. From the L40S tables of aiconfigurator-core 0.12.0.
PCIE_START, PCIE_LINK = 4.0, 0.3
# Matrix products reach less of the peak where the power limit is low for it: by the watts for a
# FLOP/s over those of an H100 SXM, to this power. From the B200 and A100 tables of the same.
POWER_LIMITED, REFERENCE_W_FLOPS = 0.25, 700 / 989e12
USABLE_MEMORY = 0.90  # vLLM's default gpu_memory_utilization
RUNTIME_BYTES = 1.5e9  # context, CUDA graphs and libraries, per GPU; declared
PREFILL_TOKENS = 8192  # most tokens of prompts in one step, vLLM's default on these GPUs
ACTIVATION_BYTES = 16.0  # of a token in a step, times the hidden size: eight 16-bit vectors
CPU_EFFICIENCY = 0.5  # share of a CPU's bandwidth and peak that a server reaches; declared

# Versions ascending; a version takes the last entry that is not newer, or the first.
# `slot_wait` was seen with one version alone.
_VLLM_18 = Engine(0.953e-3, 43.1e-6, 21.6e-6, 99.0e-6)
_TRTLLM = Engine(0.575e-3, 28.3e-6, 16.7e-6, 34.7e-6, small_cache=True, reserves=True)
ENGINES: Mapping[str, tuple[tuple[str, Engine], ...]] = {
    "vllm": (("0.11.1", Engine(0.808e-3, 44.7e-6, 42.6e-6, 99.0e-6)), ("0.18.0", _VLLM_18)),
    "trtllm": (
        ("0", _TRTLLM),
        ("1.0.0", replace(_TRTLLM, slot_wait=0.97)),  # seen with 1.0.0rc3
        ("1.0.1", _TRTLLM),
    ),
    # not measured: vLLM 0.18's, as both schedule on the host beside the GPU
    "sglang": (("0", _VLLM_18),),
}
MEASURED_ENGINES = ("vllm", "trtllm")
CONSTANTS = Constants()


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are kept: bytes a number, and the rate matrix products run at.

    packed: numbers are unpacked in software unless the GPU computes in that format. experts_only: a
    mixture of experts keeps everything but its experts in 16 bits.
    """

    weight_bytes: float
    rate: str
    packed: bool = False
    experts_only: bool = False


PRECISIONS: Mapping[str, Precision] = {
    "bf16": Precision(2.0, "bf16"),
    "fp32": Precision(4.0, "bf16"),
    "fp8": Precision(1.0, "fp8"),
    "int8": Precision(1.0, "int8"),
    "int4": Precision(0.53, "bf16", packed=True),  # groups of 128 share a scale and a zero
    "fp4": Precision(9 / 16, "bf16", packed=True),  # NVFP4: 16 share 8 bits
    "mxfp4": Precision(17 / 32, "bf16", packed=True, experts_only=True),  # 32 share 8 bits
}
PRECISION_NAMES: Mapping[str, str] = {
    "fp16": "bf16",
    "float16": "bf16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "nvfp4": "fp4",
    "w8a8": "int8",
    "awq": "int4",
    "gptq": "int4",
    "w4a16": "int4",
}


def version_key(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version for comparison: `1.0.0rc3` is (1, 0, 0)."""
    release = re.match(r"[0-9.]*", version.removeprefix("v"))
    return tuple(int(part) for part in (release[0] if release else "").split(".") if part)


def engine_constants(constants: Constants, engine: str, version: str) -> Engine:
    """Return an engine's constants: of the newest known version not newer than this one.

    An empty version is the newest known. KeyError where the engine is not known.
    """
    known = constants.engines[engine]
    if not version:
        return known[-1][1]
    wanted = version_key(version)
    older = [figures for name, figures in known if version_key(name) <= wanted]
    return older[-1] if older else known[0][1]
