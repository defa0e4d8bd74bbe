"""What a vLLM server tells of itself at `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from operator import add
from typing import NamedTuple

_SAMPLE = re.compile(
    r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[^"{}]|"(?:\\.|[^"\\])*")*)\})?'
    r"[ \t]+(?P<value>\S+)(?:[ \t]+-?[0-9]+)?[ \t]*"
)


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """A server's gauges, and its counters since it started.

    `kv_use` is a fraction. Prefix-cache queries and hits count tokens; so do the other totals but
    for preemptions, which count requests.
    """

    running: float = 0.0
    waiting: float = 0.0
    kv_use: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    prefix_queries: float = 0.0
    prefix_hits: float = 0.0
    preemptions: float = 0.0

    def since(self, before: ServerMetrics) -> ServerMetrics:
        """Return these gauges, with the counters counted from an earlier reading.

        A server that was restarted in between has counted from zero again.
        """
        counted = {name: getattr(self, name) - getattr(before, name) for name in COUNTERS}
        if any(value < 0.0 for value in counted.values()):
            return self
        return ServerMetrics(self.running, self.waiting, self.kv_use, **counted)

    def plus(self, other: ServerMetrics) -> ServerMetrics:
        """Return two servers' figures together; the fuller cache is the one that counts."""
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return ServerMetrics(**{**summed, "kv_use": max(self.kv_use, other.kv_use)})

    @property
    def hit_rate(self) -> float | None:
        """Return the share of looked-up prompt tokens that the prefix cache held."""
        return self.prefix_hits / self.prefix_queries if self.prefix_queries else None


GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_use",
}
_TOTALS = {
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "output_tokens",
    "vllm:prefix_cache_queries_total": "prefix_queries",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "vllm:num_preemptions_total": "preemptions",
}
COUNTERS = tuple(_TOTALS.values())


class Sample(NamedTuple):
    """A figure of a Prometheus exposition; `labels` as they are written: `a="1",b="2"`."""

    name: str
    labels: str
    value: float


def samples(text: str, names: Collection[str]) -> Iterator[Sample]:
    """Yield those of the samples that have one of the names; ValueError where one is malformed.

    The format is version 0.0.4 of https://prometheus.io/docs/instrumenting/exposition_formats. A
    server tells hundreds of figures, and reading all of them would take 20 ms.
    """
    wanted = tuple(names)
    for line in text.splitlines():
        if not line.startswith(wanted):
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            raise ValueError(f"`{line[:80]}` is no sample")
        if found["name"] in names:
            yield Sample(found["name"], found["labels"] or "", float(found["value"]))


def read_metrics(text: str) -> ServerMetrics | None:
    """Return what a Prometheus exposition tells, None where it is none of vLLM's.

    Several engines of a server (data parallelism) are added up, but for `kv_use`: the fullest.
    """
    found: dict[str, float] = {}
    known = GAUGES | _TOTALS
    try:
        for sample in samples(text, known):
            field = known[sample.name]
            many = max if field == "kv_use" else add
            found[field] = many(found.get(field, 0.0), sample.value)
    except ValueError:
        return None
    return ServerMetrics(**found) if found else None
