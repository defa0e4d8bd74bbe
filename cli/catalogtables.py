"""The catalogue as lists and entries: what is shown of each, and as which JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import figures
from .display import safe
from .tables import indent, table

if TYPE_CHECKING:
    from ..targets.catalog import CpuKind, Model
    from ..targets.cluster import Gpu
    from ..targets.references import Grid, Price, Score

Row = Mapping[str, Any]
_UNIT = re.compile(r"(_bytes(_s)?|_w|_per_item)$")  # which the text has beside the figure
_Columns = tuple[tuple[str, Callable[[Row], str]], ...]


def contents(files: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of each list, shipped and of the user's files, as JSON has them."""
    from ..targets.catalog import load_catalog
    from ..targets.references import load_references

    catalog, references = load_catalog(files), load_references(files)
    grids = {grid.region: grid for grid in references.grids.values()}
    return {
        "models": [
            _model(catalog.models[name]) for name in sorted(catalog.model_names(), key=str.casefold)
        ],
        "gpus": [_gpu(catalog.gpus[name]) for name in catalog.gpu_types()],
        "cpus": [_cpu(cpu) for _, cpu in sorted(catalog.cpus.items())],
        "prices": [_price(price) for price in references.prices],
        "scores": [_score(score) for score in references.scores],
        "grids": [_grid(grid) for _, grid in sorted(grids.items())],
    }


def listed(name: str, rows: Sequence[Row]) -> str:
    """Return one list under its title."""
    columns, texts = TABLES[name]
    header = [title for title, _ in columns]
    cells = [[safe(shown(row)) for _, shown in columns] for row in rows]
    title = click.style(f"{name} ({len(rows)})", bold=True)
    return f"{title}\n{indent(table(header, cells, left=texts))}"


def entry(name: str, files: Sequence[Path]) -> tuple[str, dict[str, Any]] | None:
    """Return an entry as text and as JSON, with what refers to it; None where there is none."""
    from ..targets.catalog import load_catalog
    from ..targets.references import load_references

    catalog, references = load_catalog(files), load_references(files)
    if name in catalog.models:
        model = catalog.models[name]
        scores = [_score(s) for s in references.scores if s.model in (model.name, *model.aliases)]
        return _told("model", _model(model), "scores", scores)
    if name in catalog.gpus:
        gpu = catalog.gpus[name]
        prices = [
            _price(price)
            for price in references.prices
            if price.gpu is not None and catalog.gpus.get(price.gpu) == gpu
        ]
        return _told("gpu", _gpu(gpu), "prices", prices)
    if name in catalog.cpus:
        return _told("cpu", _cpu(catalog.cpus[name]))
    if name in references.grids:
        return _told("grid", _grid(references.grids[name]))
    return None


def _told(
    kind: str, row: Row, others: str = "", rows: Sequence[Row] = ()
) -> tuple[str, dict[str, Any]]:
    said = {key: value for key, value in row.items() if value not in (0, 0.0, "", [], None)}
    said["source"] = said.pop("source")  # last: it is the longest
    labels = {key: _UNIT.sub("", key).replace("_", " ") for key in said}
    labels |= {"weight_bytes": "weights"} if "weight_bytes" in said else {}
    width = max(map(len, labels.values()))
    lines = [f"{labels[key]:<{width}}  {safe(_text(key, value))}" for key, value in said.items()]
    text = "\n".join(lines)
    document: dict[str, Any] = {kind: row}
    if others:
        document[others] = list(rows)
    return (f"{text}\n\n{listed(others, rows)}" if rows else text), document


def _text(key: str, value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {figures.count(rate)}" for name, rate in value.items())
        case list():
            return ", ".join(map(str, value))
        case float() if key.endswith("params"):
            return figures.parameters(value)
        case float() if key.endswith("bytes"):
            return figures.size(value)
        case float() if key.endswith("bytes_s"):
            return f"{figures.size(value)}/s"
        case float() if key.endswith("_w"):
            return f"{figures.count(value)} W"
        case float() if key == "flops_per_item":
            return f"{figures.count(value / 1e9)} GFLOP"
        case float():
            return f"{value:g}"
        case int() if value > 9999:
            return f"{value:,}"
    return str(value)


def _model(model: Model) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(model), "aliases": list(model.aliases)}


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "type": gpu.type,
        "memory_bytes": gpu.memory_bytes,
        "bandwidth_bytes_s": gpu.bandwidth_bytes_s,
        "peak_tflops": {name: rate / 1e12 for name, rate in gpu.peak_flops},
        "tdp_w": gpu.tdp_w,
        "idle_w": gpu.idle_w,
        "link_bytes_s": gpu.link_bytes_s,
        "link_kind": gpu.link_kind,
        "source": gpu.source,
    }


def _cpu(cpu: CpuKind) -> dict[str, Any]:
    return {
        "type": cpu.type,
        "cores": cpu.cores,
        "peak_tflops": cpu.peak_flops / 1e12,
        "bandwidth_bytes_s": cpu.bandwidth_bytes_s,
        "tdp_w": cpu.tdp_w,
        "idle_w": cpu.idle_w,
        "source": cpu.source,
    }


def _price(price: Price) -> dict[str, Any]:
    hourly = price.usd_per_s * 3600
    return {
        "provider": price.provider,
        "instance": price.instance,
        "gpu": price.gpu,
        "gpus": price.gpus,
        "vcpus": price.vcpus,
        "usd_per_hour": round(hourly, 6),
        "usd_per_gpu_hour": round(hourly / price.gpus, 6) if price.gpus else None,
        "spot": price.spot,
        "date": price.date,
        "source": price.source,
    }


def _score(score: Score) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(score)


def _grid(grid: Grid) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(grid)


def _plain(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key] or "")


def _sized(key: str, ending: str = "") -> Callable[[Row], str]:
    return lambda row: figures.size(row[key]) + ending if row[key] else ""


def _rate(*names: str) -> Callable[[Row], str]:
    def shown(row: Row) -> str:
        rates = row["peak_tflops"]
        return next((figures.count(rates[name]) for name in names if name in rates), "")

    return shown


def _params(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key] / 1e9:.3g}"


def _tokens(row: Row) -> str:
    return f"{row['context_tokens']:,}" if row["context_tokens"] else ""


def _per_gpu(row: Row) -> str:
    hourly = row["usd_per_gpu_hour"]
    return "" if hourly is None else f"{hourly:.2f}"


# columns of each list, and how many of the first are texts
TABLES: Mapping[str, tuple[_Columns, int]] = {
    "models": (
        (
            ("model", _plain("name")),
            ("kind", _plain("kind")),
            ("B params", _params("params")),
            ("active", _params("active_params")),
            ("layers", _plain("layers")),
            ("hidden", _plain("hidden")),
            ("context", _tokens),
            ("weights", _sized("weight_bytes")),
            ("precision", _plain("precision")),
        ),
        2,
    ),
    "gpus": (
        (
            ("GPU", _plain("type")),
            ("link", _plain("link_kind")),
            ("memory", _sized("memory_bytes")),
            ("bandwidth", _sized("bandwidth_bytes_s", "/s")),
            ("16-bit TFLOP/s", _rate("bf16", "fp16")),
            ("fp8", _rate("fp8")),
            ("fp4", _rate("fp4")),
            ("W", lambda row: figures.count(row["tdp_w"])),
        ),
        2,
    ),
    "cpus": (
        (
            ("CPU, a socket", _plain("type")),
            ("cores", _plain("cores")),
            ("fp32 TFLOP/s", lambda row: figures.count(row["peak_tflops"])),
            ("bandwidth", _sized("bandwidth_bytes_s", "/s")),
            ("W", lambda row: figures.count(row["tdp_w"])),
        ),
        1,
    ),
    "prices": (
        (
            ("provider", _plain("provider")),
            ("instance", _plain("instance")),
            ("GPU", _plain("gpu")),
            ("as of", _plain("date")),
            ("", lambda row: "spot" if row["spot"] else ""),
            ("GPUs", _plain("gpus")),
            ("$ / h", lambda row: f"{row['usd_per_hour']:.2f}"),
            ("a GPU", _per_gpu),
        ),
        5,
    ),
    "scores": (
        (
            ("model", _plain("model")),
            ("benchmark", _plain("benchmark")),
            ("source", _plain("source")),
            ("score", lambda row: f"{row['score']:g} {row['unit']}".removesuffix(" score")),
        ),
        3,
    ),
    "grids": (
        (
            ("region", _plain("region")),
            ("", _plain("name")),
            ("year", _plain("year")),
            ("g CO2e / kWh", lambda row: f"{row['g_per_kwh']:.0f}"),
        ),
        2,
    ),
}
