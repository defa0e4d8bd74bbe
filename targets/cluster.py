"""Cluster descriptions: what hardware there is (`cluster.toml`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from .endpoint import EndpointPlan, base_url, unusable_url

if TYPE_CHECKING:
    from .catalog import Catalog
    from .references import Grid
    from .toml_source import TomlSource


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of the catalogue.

    peak_flops: dense tensor FLOP/s (operations for `int8`) by precision: `bf16`, `fp16` where there
    is no bf16, `tf32`, `fp8`, `int8`, `fp4`.
    link_kind: what joins GPUs of one node: `nvlink`, `infinity_fabric` or `pcie`.
    """

    type: str
    memory_bytes: float
    bandwidth_bytes_s: float
    peak_flops: tuple[tuple[str, float], ...]
    tdp_w: float
    idle_w: float
    link_bytes_s: float  # one direction, to peers inside the node
    source: str
    link_kind: str = "pcie"


@dataclass(frozen=True, slots=True)
class Cpu:
    """A node's CPU; watts, bandwidth and peak (fp32 FLOP/s) are of all its cores together."""

    type: str
    cores: int
    busy_w: float
    idle_w: float
    source: str
    bandwidth_bytes_s: float = 0.0
    peak_flops: float = 0.0


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
class Endpoint:
    """A server that already runs an executor of the library, with this many calls at once."""

    executor: str
    plan: EndpointPlan
    concurrency: int | None = None
    loc: Span | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pools of nodes, and what runs elsewhere; `digest` is of the file's content.

    `grid` is where its power comes from, so that carbon can be told.
    """

    name: str
    pools: tuple[Pool, ...]
    digest: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    grid: Grid | None = None


def load_cluster(path: Path, catalogs: Sequence[Path] = ()) -> Cluster:
    """Read a `cluster.toml`; InputError with file, line and column of everything wrong in it.

    Hardware and grids are of the shipped catalogue and of the user's files.
    """
    from .catalog import load_catalog
    from .references import load_references
    from .toml_source import load_toml

    source = load_toml(path, "cluster")
    catalog = load_catalog(catalogs)
    grids = load_references(catalogs).grids if "region" in source.data else {}
    findings = [
        *_repeated_names(source),
        *_unknown_hardware(source, catalog),
        *_unknown_region(source, grids),
        *_unusable_endpoints(source),
    ]
    pools: list[Pool] = []
    for i, row in enumerate(source.data["pool"]):
        try:
            quantities = _quantities(source, i, row)
        except InputError as e:
            findings.extend(e.diagnostics)
            continue
        if not findings:
            pools.append(_pool(row, catalog, *quantities))
    if findings:
        raise InputError(findings)
    digest = hashlib.sha256(source.text.encode()).hexdigest()
    endpoints = tuple(
        _endpoint(source, i, row) for i, row in enumerate(source.data.get("endpoint", ()))
    )
    grid = grids.get(source.data.get("region", ""))
    return Cluster(source.data["name"], tuple(pools), digest, endpoints, grid)


def _quantities(source: TomlSource, i: int, row: dict[str, Any]) -> tuple[float, float]:
    memory = source.quantity(("pool", i, "memory"), "bytes")
    return memory, source.quantity(("pool", i, "price"), "USD/s") if "price" in row else 0.0


def _pool(row: dict[str, Any], catalog: Catalog, memory_bytes: float, usd_per_s: float) -> Pool:
    gpu = row.get("gpu")
    return Pool(
        name=row["name"],
        nodes=row["nodes"],
        cpu=catalog.cpus[row["cpu"].get("type", "generic")].node(row["cpu"]["cores"]),
        gpu=None if gpu is None else catalog.gpus[gpu["type"]],
        gpus=0 if gpu is None else gpu["count"],
        memory_bytes=memory_bytes,
        usd_per_s=usd_per_s,
        spot=row.get("spot", False),
    )


def _endpoint(source: TomlSource, i: int, row: dict[str, Any]) -> Endpoint:
    price = row.get("price")
    plan = EndpointPlan(
        url=base_url(row["url"]),
        key_env=row.get("key_env"),
        model=row.get("model"),
        requests_per_min=row.get("requests_per_min"),
        tokens_per_min=row.get("tokens_per_min"),
        max_usd=row.get("max_usd"),
        usd_per_mtok=price and (price["usd_per_mtok_prompt"], price["usd_per_mtok_output"]),
    )
    return Endpoint(row["name"], plan, row.get("concurrency"), source.span(("endpoint", i, "name")))


def _unusable_endpoints(source: TomlSource) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for i, row in enumerate(source.data.get("endpoint", ())):
        if row["name"] in seen:
            message = f"an endpoint of `{row['name']}` is already there"
            yield source.finding("duplicate-endpoint", message, ("endpoint", i, "name"))
        seen.add(row["name"])
        why = unusable_url(row["url"])
        if why is not None:
            message = f"the URL of an endpoint cannot be used: {why}"
            yield source.finding("bad-value", message, ("endpoint", i, "url"))


def _repeated_names(source: TomlSource) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for i, row in enumerate(source.data["pool"]):
        if row["name"] in seen:
            message = f"a pool named `{row['name']}` is already there"
            yield source.finding("duplicate-pool", message, ("pool", i, "name"))
        seen.add(row["name"])


def _unknown_hardware(source: TomlSource, catalog: Catalog) -> Iterator[Diagnostic]:
    for i, row in enumerate(source.data["pool"]):
        gpu = row.get("gpu", {}).get("type")
        if gpu is not None and gpu not in catalog.gpus:
            known = ", ".join(f"`{name}`" for name in catalog.gpu_types())
            hint = did_you_mean(gpu, catalog.gpus) or f"the catalogue has {known}"
            message = f"no GPU `{gpu}` in the catalogue"
            yield source.finding("unknown-gpu", message, ("pool", i, "gpu", "type"), help=hint)
        cpu = row["cpu"].get("type")
        if cpu is not None and cpu not in catalog.cpus:
            hint = did_you_mean(cpu, catalog.cpus) or "leave `type` out to use generic figures"
            message = f"no CPU `{cpu}` in the catalogue"
            yield source.finding("unknown-cpu", message, ("pool", i, "cpu", "type"), help=hint)


def _unknown_region(source: TomlSource, grids: Mapping[str, Grid]) -> Iterator[Diagnostic]:
    region = source.data.get("region")
    if region is None or region in grids:
        return
    hint = did_you_mean(region, grids) or "`mkb catalog show grids` lists them"
    message = f"no region `{region}` in the catalogue"
    yield source.finding("unknown-region", message, ("region",), help=hint)


def to_toml(cluster: Cluster) -> str:
    """Return a cluster as the text of a `cluster.toml` that `load_cluster` reads back."""
    lines = [f"name = {_string(cluster.name)}"]
    if cluster.grid is not None:
        lines.append(f"region = {_string(cluster.grid.region)}")
    for pool in cluster.pools:
        cpu_type = "" if pool.cpu.type == "generic" else f"type = {_string(pool.cpu.type)}, "
        lines += ["", "[[pool]]", f"name = {_string(pool.name)}", f"nodes = {pool.nodes}"]
        if pool.gpu is not None:
            lines.append(f"gpu = {{ type = {_string(pool.gpu.type)}, count = {pool.gpus} }}")
        lines.append(f"cpu = {{ {cpu_type}cores = {pool.cpu.cores} }}")
        lines.append(f'memory = "{pool.memory_bytes / 1e9:.2f} GB"')
        if pool.usd_per_s > 0:
            lines.append(f'price = "${pool.usd_per_s * 3600:.4f} / h"')
        if pool.spot:
            lines.append("spot = true")
    for endpoint in cluster.endpoints:
        lines += _endpoint_lines(endpoint)
    return "\n".join(lines) + "\n"


def _endpoint_lines(endpoint: Endpoint) -> list[str]:
    plan = endpoint.plan
    lines = [
        "",
        "[[endpoint]]",
        f"name = {_string(endpoint.executor)}",
        f"url = {_string(plan.url)}",
    ]
    for key, text in (("key_env", plan.key_env), ("model", plan.model)):
        if text is not None:
            lines.append(f"{key} = {_string(text)}")
    for key, number in (
        ("concurrency", endpoint.concurrency),
        ("requests_per_min", plan.requests_per_min),
        ("tokens_per_min", plan.tokens_per_min),
        ("max_usd", plan.max_usd),
    ):
        if number is not None:
            lines.append(f"{key} = {number!r}")
    if plan.usd_per_mtok is not None:
        prompt, output = plan.usd_per_mtok
        price = f"usd_per_mtok_prompt = {prompt!r}, usd_per_mtok_output = {output!r}"
        lines.append(f"price = {{ {price} }}")
    return lines


def _string(text: str) -> str:
    import json

    # a JSON string is a TOML basic string; only the escape of DEL is missing there
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
