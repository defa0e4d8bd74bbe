"""The optional oracle: kernel times that aiconfigurator-core measured, for the GPUs it covers.

Its core route alone is used: an engine is compiled once for a server and asked for the time of
decode steps and prefills. It gets configurations that are written here from the catalogue's
figures, so that it never reaches for a hub. It knows nothing of the host's share of a step, of
queues, or of power: those stay the analytic model's, of whose answers it replaces the times of
steps and prompts. Needs the extra `aiconfigurator`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from .perfconstants import CONSTANTS, engine_constants
from .perfmodel import Query

if TYPE_CHECKING:
    from .catalog import Model
    from .perfmodel import Answers

SYSTEMS: Final = {
    "A100-SXM4-80GB": "a100_sxm",
    "A100-PCIe-80GB": "a100_pcie",
    "B200-SXM-180GB": "b200_sxm",
    "H100-PCIe-80GB": "h100_pcie",
    "H100-SXM5-80GB": "h100_sxm",
    "H200-SXM-141GB": "h200_sxm",
    "L4": "l4",
    "L40S": "l40s",
}
_QUANTISED: Final = {"bf16": "bfloat16", "fp8": "fp8"}


@dataclass(frozen=True, slots=True)
class Kernels:
    """Times of one server's kernels, in seconds: a decode step, and one prompt by itself."""

    engine: Any

    def decode_s(self, batch: int, context: int) -> float:
        """Return the time of a step of so many sequences of so many tokens each."""
        return float(self.engine.predict_decode_latency(batch, context, 2)) / 1e3

    def prefill_s(self, prompt: int) -> float:
        """Return the time to read one prompt."""
        return float(self.engine.predict_prefill_latency(1, prompt, 0)) / 1e3


def installed() -> bool:
    """Tell whether the extra `aiconfigurator` is there."""
    return find_spec("aiconfigurator_core") is not None


def covers(query: Query) -> bool:
    """Tell whether the oracle has a query's GPU, and plain attention and experts as it wants."""
    model = query.model
    return (
        query.device.type in SYSTEMS
        and query.precision in _QUANTISED
        and model.kind == "llm"
        and not model.latent_kv_dim
        and not model.window_fraction
        and model.vocab > 0
        and (model.moe_intermediate if model.experts else model.intermediate) > 0
    )


def refined(queries: Sequence[Query], found: Answers) -> tuple[Answers, list[bool]]:
    """Return answers with the oracle's times where it covers a query, and where it did."""
    itl, prefill = found.itl_s.copy(), found.prefill_s.copy()
    asked = [covers(query) for query in queries]
    for i, query in enumerate(queries):
        kernels = _kernels(query) if asked[i] else None
        asked[i] = kernels is not None
        if kernels is None:
            continue
        batch = max(1, round(float(found.held[i])))
        itl[i] = kernels.decode_s(batch, max(1, round(query.isl + query.osl / 2)))
        prefill[i] = kernels.prefill_s(round(query.isl)) if query.isl >= 1 else 0.0
    return _with_times(queries, found, itl, prefill), asked


def _with_times(queries: Sequence[Query], found: Answers, itl: Any, prefill: Any) -> Answers:
    """Return answers with other times of steps and prompts; waiting scales with them."""
    import numpy as np

    osl = np.maximum([query.osl for query in queries], 1.0)
    tpot = itl + found.held / osl * prefill
    slower = np.where(found.prefill_s > 0, prefill / np.maximum(found.prefill_s, 1e-12), 1.0)
    return replace(
        found,
        itl_s=itl,
        prefill_s=prefill,
        tpot_s=tpot,
        ttft_s=found.ttft_s * slower,
        tokens_per_s=found.held / tpot,
    )


def _kernels(query: Query) -> Kernels | None:
    """Return the kernels of a query's server, None where the oracle has no table of them."""
    engine = engine_constants(CONSTANTS, query.engine, query.version)
    return _compiled(
        query.model,
        query.device.type,
        query.tp,
        query.precision,
        query.engine,
        query.expert_parallel,
        engine.small_cache and query.precision == "fp8",
    )


@cache
def _compiled(
    model: Model,
    device: str,
    tp: int,
    precision: str,
    engine: str,
    expert_parallel: bool,
    small_cache: bool,
) -> Kernels | None:
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    handle = import_module("aiconfigurator_core.sdk").EngineHandle
    quantised = _QUANTISED[precision]
    with TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(configuration(model)), "utf-8")
        try:
            compiled = handle.compile(
                folder,
                SYSTEMS[device],
                engine,
                tp_size=tp,
                moe_tp_size=1 if expert_parallel else tp,
                moe_ep_size=tp if expert_parallel else 1,
                gemm_quant_mode=quantised,
                moe_quant_mode=quantised,
                kvcache_quant_mode="fp8" if small_cache else "bfloat16",
            )
            kernels = Kernels(compiled._engine)
            kernels.decode_s(1, 128)  # a table that is missing shows when it is asked
        except (KeyError, LookupError, RuntimeError, TypeError, ValueError):
            return None
    return kernels


def configuration(model: Model) -> dict[str, Any]:
    """Return a `config.json` of a model's shape: as Llama, or with experts as Qwen3."""
    shape: dict[str, Any] = {
        "architectures": ["Qwen3MoeForCausalLM" if model.experts else "LlamaForCausalLM"],
        "model_type": "qwen3_moe" if model.experts else "llama",
        "hidden_size": model.hidden,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.q_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "intermediate_size": model.intermediate or model.moe_intermediate,
        "vocab_size": model.vocab,
        "max_position_embeddings": model.context_tokens,
        "torch_dtype": "bfloat16",
    }
    if model.experts:
        shape |= {
            "moe_intermediate_size": model.moe_intermediate,
            "num_experts": model.experts,
            "num_experts_per_tok": model.experts_per_token,
            "decoder_sparse_step": 1,
        }
    return shape
