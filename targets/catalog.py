"""The shipped catalogue of GPUs, CPUs and models; every figure carries its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .cluster import Cpu, Gpu
from .toml_source import TomlSource, shipped_toml


@dataclass(frozen=True, slots=True)
class Model:
    """A model's architecture.

    kind: `llm`, `asr`, `embedding`, `reranker` or `detector`. Sizes are parameters (not billions),
    bytes and tokens. A mixture of experts has `experts` in each layer, `experts_per_token` of them
    used, and `routed_params` in all of them. `window_fraction` of the layers see `window_tokens`
    only.
    """

    name: str
    kind: str
    params: float
    active_params: float
    layers: int
    hidden: int
    q_heads: int
    kv_heads: int
    head_dim: int
    context_tokens: int
    weight_bytes: float
    source: str
    experts: int = 0
    experts_per_token: int = 0
    routed_params: float = 0.0
    window_tokens: int = 0
    window_fraction: float = 0.0

    def kv_bytes(self, tokens: float) -> float:
        """Return the bytes of one sequence's keys and values at this length, 16 bits a number."""
        per_layer = 2 * self.kv_heads * self.head_dim * 2  # keys and values, 2 bytes each
        windowed = self.layers * self.window_fraction
        seen = (self.layers - windowed) * tokens
        if windowed:
            seen += windowed * min(tokens, self.window_tokens)
        return per_layer * seen


@dataclass(frozen=True, slots=True)
class CpuKind:
    """A processor of the catalogue, per socket."""

    type: str
    cores: int
    tdp_w: float
    idle_w: float
    bandwidth_bytes_s: float
    peak_flops: float
    source: str

    def node(self, cores: int) -> Cpu:
        """Return a node's processor with this many cores; figures scale with the cores."""
        share = cores / self.cores
        return Cpu(
            type=self.type,
            cores=cores,
            busy_w=self.tdp_w * share,
            idle_w=self.idle_w * share,
            source=self.source,
            bandwidth_bytes_s=self.bandwidth_bytes_s * share,
            peak_flops=self.peak_flops * share,
        )


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is known by name; GPUs under their type and their aliases."""

    gpus: Mapping[str, Gpu]
    cpus: Mapping[str, CpuKind]
    models: Mapping[str, Model]

    def gpu_types(self) -> tuple[str, ...]:
        """Return the GPU types, without aliases, sorted."""
        return tuple(sorted({gpu.type for gpu in self.gpus.values()}))


GENERIC_CPU = "generic"


@cache
def load_catalog() -> Catalog:
    """Return the shipped catalogue; read once in a process."""
    gpus: dict[str, Gpu] = {}
    cpus: dict[str, CpuKind] = {}
    models: dict[str, Model] = {}
    for source in shipped_toml("catalog"):
        for i, row in enumerate(source.data.get("gpu", ())):
            gpu = _gpu(source, i, row)
            gpus |= dict.fromkeys((gpu.type, *row.get("aliases", ())), gpu)
        for i, row in enumerate(source.data.get("cpu", ())):
            cpus[row["type"]] = _cpu(source, i, row)
        for i, row in enumerate(source.data.get("model", ())):
            models[row["name"]] = _model(source, i, row)
    return Catalog(gpus, cpus, models)


def _gpu(source: TomlSource, i: int, row: Mapping[str, Any]) -> Gpu:
    return Gpu(
        type=row["type"],
        memory_bytes=source.quantity(("gpu", i, "memory"), "bytes"),
        bandwidth_bytes_s=source.quantity(("gpu", i, "bandwidth"), "bytes/s"),
        peak_flops=tuple(sorted((k, v * 1e12) for k, v in row["peak_tflops"].items())),
        tdp_w=float(row["tdp_w"]),
        idle_w=float(row["idle_w"]),
        link_bytes_s=source.quantity(("gpu", i, "link"), "bytes/s"),
        source=_source(row),
    )


def _cpu(source: TomlSource, i: int, row: Mapping[str, Any]) -> CpuKind:
    return CpuKind(
        type=row["type"],
        cores=row["cores"],
        tdp_w=float(row["tdp_w"]),
        idle_w=float(row["idle_w"]),
        bandwidth_bytes_s=source.quantity(("cpu", i, "bandwidth"), "bytes/s"),
        peak_flops=row["peak_tflops"] * 1e12,
        source=_source(row),
    )


def _model(source: TomlSource, i: int, row: Mapping[str, Any]) -> Model:
    return Model(
        name=row["name"],
        kind=row["kind"],
        params=row["params_b"] * 1e9,
        active_params=row["active_params_b"] * 1e9,
        layers=row["layers"],
        hidden=row["hidden"],
        q_heads=row["q_heads"],
        kv_heads=row["kv_heads"],
        head_dim=row["head_dim"],
        context_tokens=row["context"],
        weight_bytes=source.quantity(("model", i, "weights"), "bytes"),
        source=_source(row),
        experts=row.get("experts", 0),
        experts_per_token=row.get("experts_per_token", 0),
        routed_params=row.get("routed_params_b", 0.0) * 1e9,
        window_tokens=row.get("window_tokens", 0),
        window_fraction=row.get("window_fraction", 0.0),
    )


def _source(row: Mapping[str, Any]) -> str:
    """Return the row's source, then those of single figures: `…; idle_w: declared estimate`."""
    single: Iterable[tuple[str, str]] = row.get("sources", {}).items()
    return "; ".join((row["source"], *(f"{key}: {text}" for key, text in single)))
