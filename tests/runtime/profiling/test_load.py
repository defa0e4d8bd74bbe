"""Load on a server: as many at once as stated, counted under the whole load, given up behind it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from murakkab.runtime.errors import CallFailed
from murakkab.runtime.profiling.campaign import Campaign, measured
from murakkab.runtime.profiling.figures import LoadPoint, Measure, load_point, mean, percentiles
from murakkab.runtime.profiling.lengths import Length, LogNormal
from murakkab.runtime.profiling.load import Effort, Load, Observed, Traffic
from murakkab.runtime.profiling.meter import PowerMeter
from murakkab.runtime.profiling.requests import Requester, Sample
from murakkab.runtime.profiling.rows import consistent, profile_csv, token_rows
from murakkab.runtime.profiling.subject import Subject
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.endpoint import Endpoint

from .model_server import ModelServer, model_server

LENGTHS = LogNormal(30.0, 10.0, 0.0)


def points(server: ModelServer, *loads: Load, requests: int = 8, **fields: Any) -> list[LoadPoint]:
    campaign = Campaign(LENGTHS, loads, Effort(requests=requests, repeats=2), **fields)

    async def main() -> list[LoadPoint]:
        client = HttpClient()
        try:
            requester = Requester(client, Endpoint(server.url, server.names[0]), 512)
            meter = PowerMeter((), {})
            return [point async for point in measured(requester, campaign, meter)]
        finally:
            await client.close()

    return asyncio.run(main())


def test_figures_of_a_closed_load_fit_together() -> None:
    with model_server(step_s=0.002) as server:
        (point,) = points(server, Load("closed", 3))
    assert server.most_at_once == 3
    assert (point.isl_tok, point.osl_tok) == (30.0, 10.0)
    assert 2.0 < point.in_flight <= 3.01
    assert point.requests == 16
    whole = point.in_flight * point.osl_tok / point.tokens_per_s.value
    assert 10 * 0.002 <= whole  # no answer can come sooner than its tokens
    assert point.tpot_s["p50"].value >= 0.002
    assert point.tpot_s["p50"].low <= point.tpot_s["p50"].value <= point.tpot_s["p50"].high
    assert point.ttft_s["p50"].value < point.latency_s["p50"].value


def test_some_answers_are_told_token_by_token_and_most_are_not() -> None:
    with model_server() as server:
        points(server, Load("closed", 2))
    streamed = [body.get("stream", False) for body in server.bodies]
    assert 0 < sum(streamed) < len(streamed) / 2
    assert all(body["ignore_eos"] for body in server.bodies)


def test_the_search_ends_where_more_load_gains_nothing() -> None:
    with model_server(slots=4, step_s=0.004) as server:
        found = points(server, requests=48)
    levels = [point.load.level for point in found]
    assert levels[:3] == [1, 2, 4] and levels[-1] <= 16


def test_the_search_ends_where_answers_take_too_long() -> None:
    with model_server(slots=4, step_s=0.004) as server:
        found = points(server, max_latency_s=0.001)
    assert [point.load.level for point in found] == [1]


def test_arrivals_come_at_their_rate_and_more_than_can_be_served_are_noticed() -> None:
    with model_server(slots=64, step_s=0.001) as server:
        (fits,) = points(server, Load("open", 20.0))
    assert fits.sustained
    with model_server(slots=1, step_s=0.005) as server:
        (floods,) = points(server, Load("open", 500.0))
    assert not floods.sustained and server.most_at_once > 8


def test_a_service_that_knows_no_wanted_lengths_is_asked_without() -> None:
    with model_server(refuse=frozenset({"ignore_eos", "min_tokens"})) as server:
        (point,) = points(server, Load("closed", 1))
    assert point.requests == 16
    assert not any("ignore_eos" in body for body in server.bodies[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"usage": False}, "does not say how many tokens its answers have"),
        ({"good": 9}, "answered 500: out of order"),
        ({"good": 0}, "answered 500: out of order"),
    ],
)
def test_what_cannot_be_measured_is_told(options: dict[str, Any], message: str) -> None:
    with model_server(**options) as server, pytest.raises(CallFailed) as caught:
        points(server, Load("closed", 2))
    assert message in caught.value.message


def test_a_load_that_takes_too_long_is_cut_short() -> None:
    async def slow(length: Length, chance: Random, streamed: bool) -> Sample:
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        return Sample(now_s, asyncio.get_running_loop().time(), 1, 5)

    traffic = Traffic(slow, LENGTHS, Load("closed", 2), Effort(requests=1000, limit_s=0.05))
    observed = asyncio.run(traffic.run(lambda: None, lambda: None))
    assert 4 <= len(observed.counted) < 100


def sample(sent_s: float, end_s: float, tokens: int = 10) -> Sample:
    return Sample(sent_s, end_s, 20, tokens)


def test_tokens_are_counted_within_the_window_alone() -> None:
    observed = Observed(
        Load("closed", 2),
        counted=(sample(1.0, 2.0), sample(1.5, 2.5), sample(2.0, 3.0)),
        others=(sample(0.5, 1.5), sample(0.0, 0.5)),
        begin_s=1.0,
        end_s=2.0,
    )
    assert observed.tokens_between(1.0, 2.0) == pytest.approx(10 + 5 + 0 + 5)
    assert observed.in_flight == pytest.approx(2.0)
    point = load_point(observed, 2, 100.0)
    assert point.tokens_per_s.value == pytest.approx(20.0)
    assert point.energy_j_per_token == pytest.approx(5.0)
    assert point.ttft_s == {}


def test_intervals() -> None:
    assert mean([5.0]) == Measure(5.0, 5.0, 5.0)
    three = mean([9.0, 10.0, 11.0])
    assert three.value == 10.0 and three.high == pytest.approx(10.0 + 4.303 / 3**0.5)
    spread = percentiles([float(n) for n in range(101)])
    assert spread["p90"].value == pytest.approx(90.0)
    assert spread["p50"].low < 50.0 < spread["p50"].high
    assert percentiles([None]) == {}


def point(level: int, rate: float, tpot_s: float) -> LoadPoint:
    figure = Measure(tpot_s, tpot_s, tpot_s)
    return LoadPoint(
        load=Load("closed", level),
        requests=40,
        window_s=1.0,
        isl_tok=20.0,
        osl_tok=10.0,
        in_flight=level,
        tokens_per_s=Measure(rate, rate, rate),
        ttft_s={"p50": figure},
        tpot_s={"p50": figure, "p95": replace(figure, value=2 * tpot_s)},
        latency_s={"p50": figure},
    )


def test_points_that_contradict_the_others_are_left_out() -> None:
    rising = [point(1, 100, 0.010), point(4, 300, 0.012), point(16, 600, 0.020)]
    beyond = point(32, 590, 0.040)
    odd = point(2, 150, 0.050)
    kept = consistent([*rising, beyond, odd])
    assert kept.points == tuple(rising)
    assert set(p.load.level for p in kept.left_out) == {32, 2}
    assert consistent([]).points == ()


def test_rows_say_what_was_measured_when_and_where() -> None:
    subject = Subject("m", "cpu", 0, "bf16", "vllm", "9.9", start_s=31.0)
    text = profile_csv(token_rows(subject, [point(4, 300, 0.012)], LENGTHS))
    header, row, start = text.splitlines()
    assert header.startswith(
        "model,precision,device,tp,isl_tok,osl_tok,load_tokens_per_s,in_flight"
    )
    assert row.startswith("m,bf16,cpu,0,20,10,300,4,0.012,,,,12,,24,,")
    assert '"mkb profile, 20' in row and "4 at once, 40 requests, all of 30 and 10 tokens" in row
    assert ",31," in start and start.endswith(': 1 start"')
