"""The shipped catalogue of GPUs, CPUs and models; every figure carries its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError
from .cluster import Cpu, Gpu
from .toml_places import Path as KeyPath
from .toml_source import TomlSource, load_toml, shipped_toml


@dataclass(frozen=True, slots=True)
class Model:
    """A model's architecture.

    kind: `llm` (also one that sees pictures), `asr`, `embedding`, `reranker`, `detector`, `ocr` or
    `diffusion`. Sizes are parameters (not billions), bytes and tokens. A mixture of experts has
    `experts` in each layer but `dense_layers` of them, `experts_per_token` of them used, and
    `routed_params` in all of them. `window_fraction` of the layers see `window_tokens` only.

    latent_kv_dim: numbers that multi-head latent attention caches for a token and layer, for all
    heads together; 0 where keys and values are cached.
    precision: of the weights: `bf16` (any 16 bits), `fp32`, `fp8`, `int8`, `int4`, `fp4`, `mxfp4`.
    vocab, intermediate, moe_intermediate: rows of the embedding, and inner sizes of a dense layer's
    and of one expert's feed-forward network; 0 where not known.
    encoder_params: those of a vision tower or audio encoder, which decoding does not read.
    flops_per_item: FLOP (two for a multiply-add) of one `item`, such as `image of 640x640`, of a
    model that does not decode tokens, or of the encoder of one that does; 0 where not known. A
    model that is known by it alone has 0 layers, heads and context.
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
    latent_kv_dim: int = 0
    precision: str = "bf16"
    vocab: int = 0
    intermediate: int = 0
    moe_intermediate: int = 0
    dense_layers: int = 0
    encoder_params: float = 0.0
    flops_per_item: float = 0.0
    item: str = ""
    aliases: tuple[str, ...] = ()

    def kv_bytes(self, tokens: float) -> float:
        """Return the bytes of one sequence's keys and values at this length, 16 bits a number.

        Latent attention caches one vector for keys and values of all heads (DeepSeek-V2, arXiv
        2405.04434, section 2.1).
        """
        numbers = self.latent_kv_dim or 2 * self.kv_heads * self.head_dim
        per_layer = 2 * numbers  # 2 bytes each
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
    """What is known by name; GPUs and models under their names and their aliases."""

    gpus: Mapping[str, Gpu]
    cpus: Mapping[str, CpuKind]
    models: Mapping[str, Model]

    def joined(self, other: Catalog) -> Catalog:
        """Return both; entries of the other replace these by name."""
        return Catalog(
            {**self.gpus, **other.gpus},
            {**self.cpus, **other.cpus},
            {**self.models, **other.models},
        )

    def model_names(self) -> tuple[str, ...]:
        """Return the names of the models, without aliases, sorted."""
        return tuple(sorted({model.name for model in self.models.values()}))

    def gpu_types(self) -> tuple[str, ...]:
        """Return the GPU types, without aliases, sorted."""
        return tuple(sorted({gpu.type for gpu in self.gpus.values()}))


GENERIC_CPU = "generic"
# What a model that decodes or reads tokens has to say; others are known by the FLOP of an item.
_TOKEN_FIGURES = ("layers", "hidden", "q_heads", "kv_heads", "head_dim", "context")
_TOKEN_KINDS = ("llm", "asr", "embedding", "reranker")


def load_catalog(files: Sequence[Path] = ()) -> Catalog:
    """Return the shipped catalogue and the user's files, whose entries replace others by name.

    InputError with every finding of the first file that has any; figures that are merely hard to
    believe (`check_catalog`) pass.
    """
    from .catalog_check import check_catalog

    found = _shipped()
    for path in files:
        source = catalog_source(path)
        found = found.joined(read_catalog(source))
        wrong = [d for d in check_catalog([source], found) if d.severity == "error"]
        if wrong:
            raise InputError(wrong)
    return found


@cache
def _shipped() -> Catalog:
    """Return the shipped catalogue; read once in a process."""
    found = Catalog({}, {}, {})
    for source in shipped_toml("catalog", only=("cpus", "gpus", "models")):
        found = found.joined(read_catalog(source))
    return found


def catalog_source(path: Path) -> TomlSource:
    """Read a user's catalogue file; InputError with every place that is not as the format wants."""
    source = load_toml(path, "catalog")
    findings = tuple(incomplete_models(source))
    if findings:
        raise InputError(findings)
    return source


def incomplete_models(source: TomlSource) -> Iterator[Diagnostic]:
    """Find models without the figures that one of their kind is priced by."""
    for i, row in enumerate(source.data.get("model", ())):
        reads_tokens = row["kind"] in _TOKEN_KINDS
        if row["kind"] == "embedding" and "gflops" in row:
            reads_tokens = False  # of pictures
        wanted = _TOKEN_FIGURES if reads_tokens else ("gflops",)
        if "gflops" in row:
            wanted = (*wanted, "item")
        for key in wanted:
            if key not in row:
                message = f"`{row['name']}` has no `{key}`"
                yield source.finding("missing-key", message, ("model", i, "name"))


def read_catalog(source: TomlSource) -> Catalog:
    """Return what one file holds; InputError with every quantity that is none."""
    findings: list[Diagnostic] = []
    gpus: dict[str, Gpu] = {}
    cpus: dict[str, CpuKind] = {}
    models: dict[str, Model] = {}
    for i, row in enumerate(source.data.get("gpu", ())):
        with _gathered(findings):
            gpus |= dict.fromkeys((row["type"], *row.get("aliases", ())), _gpu(source, i, row))
    for i, row in enumerate(source.data.get("cpu", ())):
        with _gathered(findings):
            cpus[row["type"]] = _cpu(source, i, row)
    for i, row in enumerate(source.data.get("model", ())):
        with _gathered(findings):
            model = _model(source, i, row)
            models |= dict.fromkeys((model.name, *model.aliases), model)
    if findings:
        raise InputError(findings)
    return Catalog(gpus, cpus, models)


@contextmanager
def _gathered(findings: list[Diagnostic]) -> Iterator[None]:
    """Keep what is wrong with one entry, so that the next is still read."""
    try:
        yield
    except InputError as error:
        findings.extend(error.diagnostics)


def _amount(source: TomlSource, path: KeyPath, unit: str) -> float:
    """Return a quantity above 0; InputError where it is none."""
    found = source.quantity(path, unit)
    if not found:
        raise InputError(source.finding("bad-quantity", f"`{path[-1]}` is 0", path))
    return found


def _gpu(source: TomlSource, i: int, row: Mapping[str, Any]) -> Gpu:
    return Gpu(
        type=row["type"],
        memory_bytes=_amount(source, ("gpu", i, "memory"), "bytes"),
        bandwidth_bytes_s=_amount(source, ("gpu", i, "bandwidth"), "bytes/s"),
        peak_flops=tuple(sorted((k, v * 1e12) for k, v in row["peak_tflops"].items())),
        tdp_w=float(row["tdp_w"]),
        idle_w=float(row["idle_w"]),
        link_bytes_s=_amount(source, ("gpu", i, "link"), "bytes/s"),
        source=_source(row),
        link_kind=row.get("link_kind", "pcie"),
    )


def _cpu(source: TomlSource, i: int, row: Mapping[str, Any]) -> CpuKind:
    return CpuKind(
        type=row["type"],
        cores=row["cores"],
        tdp_w=float(row["tdp_w"]),
        idle_w=float(row["idle_w"]),
        bandwidth_bytes_s=_amount(source, ("cpu", i, "bandwidth"), "bytes/s"),
        peak_flops=row["peak_tflops"] * 1e12,
        source=_source(row),
    )


def _model(source: TomlSource, i: int, row: Mapping[str, Any]) -> Model:
    return Model(
        name=row["name"],
        kind=row["kind"],
        params=row["params_b"] * 1e9,
        active_params=row.get("active_params_b", row["params_b"]) * 1e9,
        layers=row.get("layers", 0),
        hidden=row.get("hidden", 0),
        q_heads=row.get("q_heads", 0),
        kv_heads=row.get("kv_heads", 0),
        head_dim=row.get("head_dim", 0),
        context_tokens=row.get("context", 0),
        weight_bytes=_amount(source, ("model", i, "weights"), "bytes"),
        source=_source(row),
        experts=row.get("experts", 0),
        experts_per_token=row.get("experts_per_token", 0),
        routed_params=row.get("routed_params_b", 0.0) * 1e9,
        window_tokens=row.get("window_tokens", 0),
        window_fraction=row.get("window_fraction", 0.0),
        latent_kv_dim=row.get("latent_kv_dim", 0),
        precision=row.get("precision", "bf16"),
        vocab=row.get("vocab", 0),
        intermediate=row.get("intermediate", 0),
        moe_intermediate=row.get("moe_intermediate", 0),
        dense_layers=row.get("dense_layers", 0),
        encoder_params=row.get("encoder_params_b", 0.0) * 1e9,
        flops_per_item=row.get("gflops", 0.0) * 1e9,
        item=row.get("item", ""),
        aliases=tuple(row.get("aliases", ())),
    )


def _source(row: Mapping[str, Any]) -> str:
    """Return the row's source, then those of single figures: `…; idle_w: declared estimate`."""
    single: Iterable[tuple[str, str]] = row.get("sources", {}).items()
    return "; ".join((row["source"], *(f"{key}: {text}" for key, text in single)))
