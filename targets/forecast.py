"""Forecasts of servers: how fast one is, what it draws, whether it fits, and who says so.

Sources, in order of precedence: the user's measured load points (`measured` between them,
`anchored` beyond them), then an oracle where it is asked for, then the analytic model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic, InputError
from .perfanchor import Anchor, anchor
from .perfbands import band
from .perfconstants import PRECISIONS, USABLE_MEMORY
from .perfmodel import Query, answers, weights
from .perfstages import STAGE_KINDS, StageQuery, stage_answers

if TYPE_CHECKING:
    from .perfmodel import Answers
    from .prediction import Anchors

DEGREES = (2, 4, 8, 16)
ORACLE = "aiconfigurator"
DECODES = "llm"  # the kind of model that is a server of tokens; others are stages


@dataclass(frozen=True, slots=True)
class Forecast:
    """One answer. Times in ms, power of all GPUs in W, memory of each GPU in GB (10^9).

    ttft: mean time to the first token; itl: median step; tpot: mean time per output token after the
    first. fits: whether the weights and one request fit; if not, there are no times, and memory is
    what is wanted. concurrent: requests that memory holds at once, of `batch`. error_band_pct: what
    four of five predictions of this kind are not further off by.
    """

    ttft_ms: float
    itl_ms: float
    tpot_ms: float
    throughput_tok_s: float
    power_w: float
    energy_j_per_output_tok: float
    memory_gb: float
    fits: bool
    error_band_pct: float
    source: str
    concurrent: float


def forecasts(
    queries: Sequence[Query], anchors: Anchors | None = None, source: str = "auto"
) -> list[Forecast]:
    """Return the answers to queries, in their order.

    `aiconfigurator` asks the oracle where it covers a query; `analytic` and `auto` do not: the
    model was closer to what was measured (benchmarks/model_accuracy). InputError where the oracle
    is wanted and not installed.
    """
    decoding = [query for query in queries if query.model.kind == DECODES]
    found = answers(decoding)
    by_oracle = [False] * len(decoding)
    if source == ORACLE:
        found, by_oracle = _from_oracle(decoding, found)

    @cache
    def anchor_at(i: int) -> Anchor | None:
        return None if anchors is None else anchor(anchors.for_query(decoding[i]), decoding[i])

    first: dict[tuple[object, ...], int] = {}
    made: list[Forecast] = []
    decoded = 0
    for q in queries:
        if q.model.kind != DECODES:
            made.append(_stage(q))
            continue
        key = (id(q.model), q.device.type, q.tp, q.precision, q.engine, q.version)
        anchored = anchor_at(first.setdefault(key, decoded))
        made.append(_server(q, found, decoded, anchored, by_oracle[decoded]))
        decoded += 1
    return made


def unfit(query: Query) -> Diagnostic:
    """Return what a query's model lacks on its GPUs, and which degree or precision would do."""
    missing = _missing_bytes(query)
    gpus = f"{query.tp} x {query.device.type}" if query.tp > 1 else f"one {query.device.type}"
    message = (
        f"`{query.model.name}` in `{query.precision}` does not fit on {gpus}: each GPU lacks "
        f"{missing / 1e9:.1f} GB for weights and one request"
    )
    ways = list(_ways_to_fit(query))
    return Diagnostic("does-not-fit", message, help=f"{' or '.join(ways)} would" if ways else None)


def _ways_to_fit(query: Query) -> Iterator[str]:
    """Yield the smallest degree, and the precision of most bits, with which a query would fit."""
    for tp in DEGREES if query.model.kind == DECODES else ():
        if tp > query.tp and query.model.q_heads % tp == 0 and fits(replace(query, tp=tp)):
            yield f"`tp` {tp}"
            break
    now = PRECISIONS[query.precision].weight_bytes
    for name in ("fp8", "int4"):
        if PRECISIONS[name].weight_bytes < now and fits(replace(query, precision=name)):
            yield f"precision `{name}`"
            break


def fits(query: Query) -> bool:
    """Tell whether the weights and one request of a query fit."""
    return _missing_bytes(query) <= 0


def _missing_bytes(query: Query) -> float:
    if query.model.kind == DECODES:
        return float(answers([query]).missing_bytes[0])
    return _stage_bytes(query) - query.device.memory_bytes * USABLE_MEMORY


def _stage_bytes(query: Query) -> float:
    """Return the memory of a stage's weights and runtime; activations of one item are small."""
    return sum(weights(query.model, query.precision)) + query.device.runtime_bytes


def _from_oracle(queries: Sequence[Query], found: Answers) -> tuple[Answers, list[bool]]:
    from .oracle import installed, refined

    if not installed():
        message = "`--source aiconfigurator` needs the package aiconfigurator-core"
        help = "pip install 'murakkab[aiconfigurator]'"
        raise InputError(Diagnostic("missing-package", message, help=help))
    return refined(queries, found)


def _server(
    query: Query, found: Answers, i: int, anchored: Anchor | None, by_oracle: bool
) -> Forecast:
    memory_gb = float(found.memory_bytes[i]) / 1e9
    if found.missing_bytes[i] > 0:
        return Forecast(*(math.nan,) * 6, memory_gb, False, math.nan, "", 0.0)
    held = float(found.held[i])
    time = first = power = 1.0
    source = ORACLE if by_oracle else "analytic"
    if anchored is not None and not by_oracle:
        time = 1.0 if anchored.time is None else float(anchored.time.at(held))
        first = time if anchored.first is None else float(anchored.first.at(held))
        power = 1.0 if anchored.power is None else float(anchored.power.at(held))
        known = anchored.time
        source = "measured" if known is not None and known.covers(held) else "anchored"
    rate = float(found.tokens_per_s[i]) / time
    watts = float(found.power_w[i]) * power
    return Forecast(
        ttft_ms=1e3 * float(found.ttft_s[i]) * first,
        itl_ms=1e3 * float(found.itl_s[i]) * time,
        tpot_ms=1e3 * float(found.tpot_s[i]) * time,
        throughput_tok_s=rate,
        power_w=watts,
        energy_j_per_output_tok=watts / rate,
        memory_gb=memory_gb,
        fits=True,
        error_band_pct=band(query, source),
        source=source,
        concurrent=held,
    )


def _stage(query: Query) -> Forecast:
    """Return the forecast of a model that is no language model.

    The time to the first token is that of a batch. A speech model writes `osl` tokens for an item;
    of others the throughput is in items, such as images. They use one GPU.
    """
    memory_gb = _stage_bytes(query) / 1e9
    if not fits(query):
        return Forecast(*(math.nan,) * 6, memory_gb, False, math.nan, "", 0.0)
    speaks = query.model.kind == "asr"
    reads = query.model.kind in ("embedding", "reranker") and query.model.layers > 0
    tokens = query.osl if speaks else query.isl if reads else 0.0
    rate_of = PRECISIONS[query.precision].rate
    asked = StageQuery(query.model, query.device, query.batch, rate_of, tokens)
    found = stage_answers([asked])
    written = query.osl if speaks else 1.0
    rate = float(found.items_per_s[0]) * written
    watts = float(found.power_w[0])
    return Forecast(
        ttft_ms=1e3 * float(found.batch_s[0]),
        itl_ms=math.nan,
        tpot_ms=math.nan,
        throughput_tok_s=rate,
        power_w=watts,
        energy_j_per_output_tok=watts / rate,
        memory_gb=memory_gb,
        fits=True,
        error_band_pct=STAGE_KINDS[query.model.kind].band_pct,
        source="analytic",
        concurrent=query.batch,
    )
