"""What is wrong, or hard to believe, in catalogue files: figures out of range, or contradictory.

What cannot be is an error; what is out of the range of everything that was ever sold or trained is
a warning. Files are first read as everywhere (`catalog_source`), which finds what is misspelt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..ir.diagnostics import Diagnostic, did_you_mean
from .catalog import Catalog, Model, read_catalog
from .references import read_references
from .toml_places import Path as KeyPath
from .toml_source import TomlSource

# Bytes of one parameter; of quantised weights scales, and layers that stay at 16 bits, come on top.
PARAM_BYTES: Mapping[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "fp4": 0.5,
    "mxfp4": 0.5,
}
_QUANTISED_SURPLUS = 1.35  # fp8 and 4-bit checkpoints with embeddings and scales beside them
_TOLERANCE = 0.10  # of parameters against layers: norms, biases and projectors are not counted
# Tensor FLOP for a byte of memory traffic, at 16 bits: V100 139, A10G 117, L4 403.
_FLOP_PER_BYTE = (40.0, 800.0)
_FLOP_PER_JOULE = 4e12  # B200 reaches 2.25e12 at 16 bits
_RATE_OF_16_BITS = {"tf32": 0.6, "fp8": 2.1, "int8": 4.2, "fp4": 6.5}  # as sold, at most
_GPU_BYTES = (4e9, 2e12)
_CORE_FLOPS = (2e9, 400e9)  # fp32 of one core; Xeon 6980P: 128e9
_USD_PER_GPU_HOUR = (0.05, 50.0)
_G_PER_KWH = 1500.0  # lignite alone is at about 1,200
_ENTRIES = {
    "gpu": "type",
    "cpu": "type",
    "model": "name",
    "carbon": "region",
}


def check_catalog(sources: Sequence[TomlSource], known: Catalog) -> Iterator[Diagnostic]:
    """Yield what is wrong with catalogue files that follow the format.

    `known` is what prices and scores may refer to: the shipped catalogue with these files.
    """
    for source in sources:
        yield from _repeated(source)
        yield from _sources(source)
        found = read_catalog(source)
        for i, row in enumerate(source.data.get("gpu", ())):
            yield from _gpu(source, i, row, found)
        for i, row in enumerate(source.data.get("cpu", ())):
            yield from _cpu(source, i, row, found)
        for i, row in enumerate(source.data.get("model", ())):
            yield from _model(source, i, found.models[row["name"]], row)
        yield from _prices(source, known)
        yield from _scores(source, known)
        for i, row in enumerate(source.data.get("carbon", ())):
            if row["g_per_kwh"] > _G_PER_KWH:
                said = f"{row['g_per_kwh']:g} g for a kWh is more than any grid emits"
                yield _doubt(source, said, ("carbon", i, "g_per_kwh"))


def _repeated(source: TomlSource) -> Iterator[Diagnostic]:
    for table, key in _ENTRIES.items():
        seen: set[str] = set()
        for i, row in enumerate(source.data.get(table, ())):
            paths: list[tuple[str, KeyPath]] = [(row[key], (table, i, key))]
            paths += [
                (alias, (table, i, "aliases", n)) for n, alias in enumerate(row.get("aliases", ()))
            ]
            for name, path in paths:
                if name in seen:
                    yield source.finding("duplicate-entry", f"`{name}` is already there", path)
                seen.add(name)


def _sources(source: TomlSource) -> Iterator[Diagnostic]:
    for table, rows in source.data.items():
        for i, row in enumerate(rows):
            if not row["source"].strip():
                yield source.finding("missing-source", "the source is blank", (table, i, "source"))
            for key, text in row.get("sources", {}).items():
                path: KeyPath = (table, i, "sources", key)
                if key not in row:
                    message = f"a source of `{key}`, which this entry does not have"
                    hint = did_you_mean(key, row)
                    yield source.finding("unknown-key", message, path, key=True, help=hint)
                elif not text.strip():
                    yield source.finding("missing-source", "the source is blank", path)


def _gpu(
    source: TomlSource, i: int, row: Mapping[str, Any], found: Catalog
) -> Iterator[Diagnostic]:
    gpu = found.gpus[row["type"]]
    rates = dict(gpu.peak_flops)
    peak = rates.get("bf16", rates.get("fp16"))
    if gpu.idle_w >= gpu.tdp_w:
        message = f"{gpu.idle_w:g} W at rest is not less than the {gpu.tdp_w:g} W at most"
        yield source.finding("contradictory-entry", message, ("gpu", i, "idle_w"))
    if not _GPU_BYTES[0] <= gpu.memory_bytes <= _GPU_BYTES[1]:
        yield _doubt(source, f"no GPU has `{row['memory']}` of memory", ("gpu", i, "memory"))
    if peak is None:
        message = f"`{gpu.type}` has no rate at 16 bits: `bf16` or `fp16`"
        yield source.finding("missing-key", message, ("gpu", i, "peak_tflops"), key=True)
        return
    intensity = peak / gpu.bandwidth_bytes_s
    if not _FLOP_PER_BYTE[0] <= intensity <= _FLOP_PER_BYTE[1]:
        said = f"{intensity:.0f} FLOP for a byte of memory traffic is unlike any GPU"
        hint = "peaks are dense tensor rates, bandwidth that of the GPU's own memory"
        yield _doubt(source, said, ("gpu", i, "peak_tflops"), hint)
    if peak > _FLOP_PER_JOULE * gpu.tdp_w:
        said = f"{peak / 1e12:g} TFLOP/s from {gpu.tdp_w:g} W is more than any GPU reaches"
        yield _doubt(source, said, ("gpu", i, "tdp_w"))
    for name, most in _RATE_OF_16_BITS.items():
        if rates.get(name, 0.0) > most * peak:
            said = f"`{name}` is {rates[name] / peak:.1f} times the rate at 16 bits"
            hint = "rates are without sparsity, which data sheets often count in"
            yield _doubt(source, said, ("gpu", i, "peak_tflops", name), hint)


def _cpu(
    source: TomlSource, i: int, row: Mapping[str, Any], found: Catalog
) -> Iterator[Diagnostic]:
    cpu = found.cpus[row["type"]]
    if cpu.idle_w >= cpu.tdp_w:
        message = f"{cpu.idle_w:g} W at rest is not less than the {cpu.tdp_w:g} W at most"
        yield source.finding("contradictory-entry", message, ("cpu", i, "idle_w"))
    core = cpu.peak_flops / cpu.cores
    if not _CORE_FLOPS[0] <= core <= _CORE_FLOPS[1]:
        said = f"{core / 1e9:.3g} GFLOP/s for a core is unlike any processor"
        yield _doubt(source, said, ("cpu", i, "peak_tflops"))


def _model(
    source: TomlSource, i: int, model: Model, row: Mapping[str, Any]
) -> Iterator[Diagnostic]:
    for key, message in _contradictions(model, row):
        yield source.finding("contradictory-entry", message, ("model", i, key))
    least = model.params * PARAM_BYTES[model.precision]
    most = least * (1.02 if model.precision in ("bf16", "fp32") else _QUANTISED_SURPLUS)
    if not 0.98 * least <= model.weight_bytes <= most:
        message = (
            f"`{row['weights']}` of weights are {model.weight_bytes / model.params:.2g} bytes for "
            f"each of {model.params / 1e9:g} B parameters, and `{model.precision}` has "
            f"{PARAM_BYTES[model.precision]:g}"
        )
        yield source.finding("contradictory-entry", message, ("model", i, "weights"))
    held = _params_of_layers(model)
    if held is None or held[0] * (1 - _TOLERANCE) <= model.params <= held[1] * (1 + _TOLERANCE):
        return
    message = (
        f"`{model.name}` has {model.params / 1e9:g} B parameters, and its layers, experts and "
        f"embeddings hold {held[0] / 1e9:.3g} to {held[1] / 1e9:.3g} B"
    )
    yield source.finding("contradictory-entry", message, ("model", i, "params_b"))


def _contradictions(model: Model, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the key and the message for each two figures of a model that cannot both be."""
    if model.active_params > model.params:
        yield "active_params_b", "more parameters are active than there are"
    if model.routed_params + model.encoder_params > model.params:
        key = "routed_params_b" if model.routed_params else "encoder_params_b"
        yield key, "experts and encoder hold more parameters than there are"
    if model.kv_heads and model.q_heads % model.kv_heads:
        yield (
            "kv_heads",
            f"{model.q_heads} heads do not share out over {model.kv_heads} of keys and values",
        )
    experts = [key for key in ("experts", "experts_per_token", "routed_params_b") if key in row]
    if experts and len(experts) < 3:
        yield experts[0], "`experts`, `experts_per_token` and `routed_params_b` belong together"
    if model.experts_per_token > model.experts:
        yield (
            "experts_per_token",
            f"a token meets {model.experts_per_token} of {model.experts} experts",
        )
    if model.dense_layers and model.dense_layers >= model.layers:
        yield "dense_layers", f"{model.dense_layers} of {model.layers} layers leave none to experts"
    if ("window_tokens" in row) != ("window_fraction" in row):
        key = "window_tokens" if "window_tokens" in row else "window_fraction"
        yield key, "`window_tokens` and `window_fraction` belong together"
    if model.window_tokens > model.context_tokens > 0:
        yield (
            "window_tokens",
            f"a window of {model.window_tokens} tokens in {model.context_tokens} of context",
        )


def _params_of_layers(model: Model) -> tuple[float, float] | None:
    """Return the least and the most parameters that a transformer of these sizes has.

    None where sizes are not stated. Attention holds `hidden * head_dim * (2 q_heads + 2 kv_heads)`,
    a feed-forward network two or three matrices (a gated one), the embedding one or two tables. A
    speech decoder attends to its encoder too; how latent attention is factored is not stated.
    """
    if not model.layers or not model.vocab or not (model.intermediate or model.moe_intermediate):
        return None
    attention = float(model.hidden * model.head_dim * (2 * model.q_heads + 2 * model.kv_heads))
    attentions = (0.0, 2 * attention) if model.latent_kv_dim else (attention, attention)
    if model.kind in ("asr", "ocr"):
        attentions = (2 * attention, 2 * attention)
    sparse = model.layers - model.dense_layers if model.experts else 0
    dense = model.layers - sparse
    routed = 3.0 * model.hidden * model.moe_intermediate * model.experts * sparse
    matrix = float(model.hidden * model.intermediate)
    table = float(model.vocab * model.hidden)
    rest = routed + model.encoder_params
    shared = 2.0 * routed / model.experts if model.experts else 0.0  # experts that all tokens meet
    least = model.layers * attentions[0] + dense * 2 * matrix + table + rest
    most = model.layers * attentions[1] + dense * 3 * matrix + 2 * table + rest + shared
    return least, most


def _prices(source: TomlSource, known: Catalog) -> Iterator[Diagnostic]:
    prices = read_references(source).prices
    for i, (row, price) in enumerate(zip(source.data.get("price", ()), prices, strict=True)):
        if ("gpu" in row) != ("gpus" in row):
            message = "`gpu` and `gpus` belong together"
            key = "gpu" if "gpu" in row else "gpus"
            yield source.finding("contradictory-entry", message, ("price", i, key))
            continue
        if price.gpu is None:
            continue
        if price.gpu not in known.gpus:
            hint = did_you_mean(price.gpu, known.gpus)
            message = f"no GPU `{price.gpu}` in the catalogue"
            yield source.finding("unknown-gpu", message, ("price", i, "gpu"), help=hint)
        usd = price.usd_per_s * 3600 / price.gpus
        if not _USD_PER_GPU_HOUR[0] <= usd <= _USD_PER_GPU_HOUR[1]:
            said = f"${usd:,.3g} an hour for a GPU is unlike any offer"
            hint = "`price` is of the whole machine, with all its `gpus`"
            yield _doubt(source, said, ("price", i, "price"), hint)


def _scores(source: TomlSource, known: Catalog) -> Iterator[Diagnostic]:
    seen: set[tuple[str, ...]] = set()
    for i, row in enumerate(source.data.get("quality", ())):
        if row["model"] not in known.models:
            hint = did_you_mean(row["model"], known.models)
            message = f"no model `{row['model']}` in the catalogue"
            yield source.finding("unknown-model", message, ("quality", i, "model"), help=hint)
        if row["unit"] == "%" and row["score"] > 100:
            message = f"a score of {row['score']:g} %"
            yield source.finding("contradictory-entry", message, ("quality", i, "score"))
        parts = (row["model"], row.get("precision", ""), row["benchmark"], row["source"])
        if parts in seen:
            message = f"this source's score of `{row['model']}` is already there"
            yield source.finding("duplicate-entry", message, ("quality", i, "benchmark"))
        seen.add(parts)


def _doubt(source: TomlSource, said: str, path: KeyPath, help: str | None = None) -> Diagnostic:
    return Diagnostic("implausible-figure", said, source.span(path), "warning", help=help)
