"""What is known of services that run elsewhere: declared figures, and the price they ask."""

from __future__ import annotations

from collections.abc import Sequence

from .cost import BANDS, Estimate, Latency, Provenance, Work
from .library import Executor
from .loadpoints import REQUEST_S, Tails, prefill_share, prompt_token_s, step_s
from .profiles import TokenPoint, token_curve

_FIRST_S, _TOKEN_S = 0.6, 0.015  # a model: to the first token, and each; declared
_CALL_S = 0.5  # another service; declared
_TAIL = 1.15  # p90 over p50 where it was not measured


def remote_estimate(
    executor: Executor, work: Work, concurrency: int, points: Sequence[TokenPoint] = ()
) -> Estimate:
    """Return what a service takes: latency by tokens, as measured where it was, price by token."""
    prices = executor.usd_per_mtok
    measured = _measured(points, work, concurrency)
    latency = _declared(executor, work) if measured is None else measured
    source: Provenance = "declared" if measured is None else "measured"
    usd = 0.0
    if prices is not None:
        usd = (work.prompt_tokens[0] * prices[0] + work.output_tokens[0] * prices[1]) / 1e6
    return Estimate(
        latency=latency,
        calls_per_s=concurrency / latency.p50,
        startup_s=0.0,
        busy_w=0.0,
        idle_w=0.0,
        usd_per_s=0.0,
        usd_per_call=usd,
        cores=0,
        memory_bytes=0.0,
        gpu_memory_bytes=0.0,
        source=source,
        error_band=BANDS[source],
    )


def _declared(executor: Executor, work: Work) -> Latency:
    if executor.runner not in ("openai", "vllm"):
        return Latency.log_normal(_CALL_S, 2 * _CALL_S)
    p50 = _FIRST_S + _TOKEN_S * work.output_tokens[0]
    return Latency.log_normal(p50, (_FIRST_S + _TOKEN_S * work.output_tokens[1]) * 2)


def _measured(points: Sequence[TokenPoint], work: Work, concurrency: int) -> Latency | None:
    """Return the latency by load points of the endpoint; None where they do not tell.

    More requests than were ever measured at once share the rate of the highest load.
    """
    prefill_s = prompt_token_s(points) or 0.0
    steps = token_curve(points, lambda p: step_s(p, prefill_s))
    shares = token_curve(points, lambda p: prefill_share(p, prefill_s))
    if steps is None or shares is None:
        return None
    held = min(float(concurrency), max(steps.xs[-1], 1.0))
    reading_s = held * shares.at(held) * prefill_s

    def request_s(index: int) -> float:
        output = max(work.output_tokens[index], 1.0)
        return REQUEST_S + output * steps.at(held) + work.prompt_tokens[index] * reading_s

    tails = Tails.of(points)
    tail = _TAIL if tails.p90 is None else tails.p90.at(held)
    waiting = concurrency / held
    latency = Latency.log_normal(waiting * request_s(0), waiting * tail * request_s(1))
    return tails.on(latency, held)
