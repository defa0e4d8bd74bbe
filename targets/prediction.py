"""Predictions for questions asked by name: how fast a server is, what it draws, whether it fits.

Sources, in order of precedence: the user's measured load points (`measured` between them,
`anchored` beyond them), then an oracle where it is asked for, then the analytic model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic
from .hardware_names import Names
from .perfanchor import Anchor, anchor
from .perfbands import band
from .perfconstants import PRECISIONS
from .perfmodel import Query, answers

if TYPE_CHECKING:
    from .perfmodel import Answers
    from .profiles import Profiles, TokenPoint

DEGREES = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks, in their words; empty texts leave a choice to the model."""

    model: str
    gpu: str
    tp: int = 1
    batch: float = 1.0
    isl: float = 1024.0
    osl: float = 256.0
    precision: str = ""
    engine: str = ""
    engine_version: str = ""


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


def query_of(question: Question, names: Names) -> Query:
    """Return a question in the model's terms; InputError where a name is none that is known."""
    model, said = names.model(question.model)
    published = names.precision(model.precision)
    precision = names.precision(question.precision) if question.precision else said or published
    if precision == "fp4" and published == "mxfp4":
        precision = published  # both names are in use for it
    if precision == "fp32" and published == "fp32" and not question.precision:
        precision = "bf16"  # what servers load such weights in
    return Query(
        model=model,
        device=names.device(question.gpu),
        tp=question.tp,
        batch=question.batch,
        isl=question.isl,
        osl=question.osl,
        precision=precision,
        engine=names.engine(question.engine or "vllm"),
        version=question.engine_version,
    )


def bad_degree(query: Query) -> Diagnostic | None:
    """Return why a model cannot be split over a query's GPUs, None where it can."""
    if query.tp == 1 or query.model.q_heads % query.tp == 0:
        return None
    message = f"`tp` {query.tp} does not divide the {query.model.q_heads} heads of its attention"
    return Diagnostic("bad-value", message)


@dataclass(frozen=True)
class Anchors:
    """The user's load points, by what they are of."""

    points: Mapping[tuple[int, str, int], tuple[TokenPoint, ...]]

    @staticmethod
    def of(profiles: Profiles, names: Names) -> Anchors:
        """Index load points by model, device and degree, under whatever names they stand."""
        found: dict[tuple[int, str, int], tuple[TokenPoint, ...]] = {}
        for (model, device, tp), points in profiles.tokens.items():
            spelled = names.models.get(model.lower())
            placed = names.devices.get(device.lower())
            if spelled is not None and placed is not None:
                found[id(spelled), placed.type, tp] = points
        return Anchors(found)

    def for_query(self, query: Query) -> tuple[TokenPoint, ...]:
        """Return the load points of a query's server."""
        return self.points.get((id(query.model), query.device.type, query.tp), ())


def other_versions(anchors: Anchors, queries: Sequence[Query]) -> Iterator[Diagnostic]:
    """Warn of load points that were measured with another engine, or version, than is asked for."""
    told: set[tuple[object, ...]] = set()
    for query in queries:
        for point in anchors.for_query(query):
            had = point.engine, point.engine_version
            other = point.engine and point.engine.lower() != query.engine
            newer = query.version and point.engine_version not in ("", query.version)
            key = (query.model.name, query.device.type, query.tp, *had)
            if not (other or newer) or key in told:
                continue
            told.add(key)
            message = (
                f"the load points of `{query.model.name}` on {query.device.type} are of "
                f"{' '.join(filter(None, had))}, not of {query.engine} {query.version}".rstrip()
            )
            yield Diagnostic("outdated-profile", message, severity="warning")


def forecasts(
    queries: Sequence[Query], anchors: Anchors | None = None, source: str = "auto"
) -> list[Forecast]:
    """Return the answers to queries, in their order."""
    found = answers(queries)

    @cache
    def anchor_at(i: int) -> Anchor | None:
        return None if anchors is None else anchor(anchors.for_query(queries[i]), queries[i])

    first: dict[tuple[object, ...], int] = {}
    made: list[Forecast] = []
    for i, q in enumerate(queries):
        key = (id(q.model), q.device.type, q.tp, q.precision, q.engine, q.version)
        made.append(_prediction(q, found, i, anchor_at(first.setdefault(key, i))))
    return made


def unfit(query: Query) -> Diagnostic:
    """Return what a query's model lacks on its GPUs, and which degree or precision would do."""
    missing = float(answers([query]).missing_bytes[0])
    gpus = f"{query.tp} x {query.device.type}" if query.tp > 1 else f"one {query.device.type}"
    message = (
        f"`{query.model.name}` in `{query.precision}` does not fit on {gpus}: each GPU lacks "
        f"{missing / 1e9:.1f} GB for weights and one request"
    )
    ways = list(_ways_to_fit(query))
    return Diagnostic("does-not-fit", message, help=f"{' or '.join(ways)} would" if ways else None)


def _ways_to_fit(query: Query) -> Iterator[str]:
    """Yield the smallest degree, and the precision of most bits, with which a query would fit."""
    for tp in DEGREES:
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
    return float(answers([query]).missing_bytes[0]) <= 0


def _prediction(query: Query, found: Answers, i: int, anchored: Anchor | None) -> Forecast:
    memory_gb = float(found.memory_bytes[i]) / 1e9
    if found.missing_bytes[i] > 0:
        return Forecast(*(math.nan,) * 6, memory_gb, False, math.nan, "", 0.0)
    held = float(found.held[i])
    time = first = power = 1.0
    source = "analytic"
    if anchored is not None:
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
