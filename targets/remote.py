"""What is known of services that run elsewhere: declared figures, and the price they ask."""

from __future__ import annotations

from .cost import BANDS, Estimate, Latency, Work
from .library import Executor

_FIRST_S, _TOKEN_S = 0.6, 0.015  # a model: to the first token, and each; declared
_CALL_S = 0.5  # another service; declared


def remote_estimate(executor: Executor, work: Work, concurrency: int) -> Estimate:
    """Return what a service takes: latency by output tokens, price by token."""
    prices = executor.usd_per_mtok
    if executor.runner in ("openai", "vllm"):
        p50 = _FIRST_S + _TOKEN_S * work.output_tokens[0]
        p90 = (_FIRST_S + _TOKEN_S * work.output_tokens[1]) * 2
    else:
        p50, p90 = _CALL_S, 2 * _CALL_S
    usd = 0.0
    if prices is not None:
        usd = (work.prompt_tokens[0] * prices[0] + work.output_tokens[0] * prices[1]) / 1e6
    return Estimate(
        latency=Latency.log_normal(p50, p90),
        calls_per_s=concurrency / p50,
        startup_s=0.0,
        busy_w=0.0,
        idle_w=0.0,
        usd_per_s=0.0,
        usd_per_call=usd,
        cores=0,
        memory_bytes=0.0,
        gpu_memory_bytes=0.0,
        source="declared",
        error_band=BANDS["declared"],
    )
