"""Measured load points of servers and tools in the cost model: times of requests, tails, tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.targets.catalog import load_catalog
from murakkab.targets.cluster import Cluster, Pool
from murakkab.targets.cost import Latency, Slot, Work
from murakkab.targets.costmodel import CALL_S, ProfileCostModel
from murakkab.targets.library import Executor, Quality, load_library
from murakkab.targets.loadpoints import REQUEST_S, prompt_token_s, step_s, with_tails
from murakkab.targets.profiles import TokenPoint, load_profiles

MODEL = "Qwen/Qwen3-8B"
SERVER = Executor(
    "e", "generate", "", "vllm", ("cpu",), Quality(1.0, "none", "test"), model=MODEL, cores=2
)
POOL = Pool("host", 1, load_catalog().cpus["generic"].node(4), None, 0, 64e9, 0.0)
HEADER = (
    "model,device,tp,isl_tok,osl_tok,load_tokens_per_s,in_flight,ttft_p50_s,tpot_p50_ms,"
    "tpot_p90_ms,tpot_p95_ms,tpot_p99_ms,source\n"
)
# one prompt token takes 1 ms: 0.1 s a prompt; steps take 50 and 60 ms
PREFILL_S = 0.001
ONE = REQUEST_S + 100 * 0.05 + 1 * 100 * PREFILL_S
FOUR = REQUEST_S + 100 * 0.06 + 4 * 100 * PREFILL_S
ROWS = (
    f"{{model}},{{device}},0,100,100,{100 / ONE},1,{REQUEST_S + 0.05 + 0.1},50,55,60,70,ours\n"
    f"{{model}},{{device}},0,100,100,{4 * 100 / FOUR},4,0.3,64,70,,,ours\n"
)


def model(tmp_path: Path, device: str) -> ProfileCostModel:
    path = tmp_path / "p.csv"
    path.write_text(HEADER + ROWS.format(model=MODEL, device=device))
    return ProfileCostModel(load_profiles([path], shipped=False))


def work(prompt: float, output: float) -> Work:
    return Work((prompt, prompt), (output, output))


@pytest.mark.parametrize("device", ["cpu", "remote"])
@pytest.mark.parametrize(
    ("at_once", "prompt", "output", "expected"),
    [
        (1, 100, 100, ONE),
        (4, 100, 100, FOUR),
        (4, 100, 50, REQUEST_S + 50 * 0.06 + 4 * 0.1),
        (4, 400, 100, REQUEST_S + 100 * 0.06 + 4 * 0.4),
    ],
)
def test_requests_take_what_was_measured_also_of_other_lengths(
    device: str, at_once: int, prompt: float, output: float, expected: float, tmp_path: Path
) -> None:
    costs = model(tmp_path, device)
    slot = Slot(POOL, "cpu") if device == "cpu" else Slot(None, "remote")
    found = costs.estimate(SERVER, {}, slot, work(prompt, output), at_once)
    # the analytic model says how steps depend on the context
    near = pytest.approx(expected, rel=1e-6 if device == "remote" else 0.02)
    assert found.latency.p50 == near
    assert found.calls_per_s == pytest.approx(at_once / found.latency.p50)
    assert found.source == "measured"


def test_an_endpoint_that_is_full_makes_further_requests_wait(tmp_path: Path) -> None:
    costs, slot = model(tmp_path, "remote"), Slot(None, "remote")
    full = costs.estimate(SERVER, {}, slot, work(100, 100), 4)
    more = costs.estimate(SERVER, {}, slot, work(100, 100), 16)
    assert more.calls_per_s == pytest.approx(full.calls_per_s)
    assert more.latency.p50 == pytest.approx(4 * full.latency.p50)


def test_an_endpoint_without_rows_stays_declared(tmp_path: Path) -> None:
    other = replace(SERVER, model="org/other")
    found = model(tmp_path, "remote").estimate(other, {}, Slot(None, "remote"), work(9, 100), 4)
    assert found.source == "declared" and found.latency.p50 == pytest.approx(0.6 + 1.5)


def test_measured_tails_reach_the_predicted_percentiles(tmp_path: Path) -> None:
    found = model(tmp_path, "remote").estimate(SERVER, {}, Slot(None, "remote"), work(100, 100), 1)
    ratios = [found.latency.at(p) / found.latency.p50 for p in ("p90", "p95", "p99")]
    assert ratios == pytest.approx([1.1, 1.2, 1.4], rel=1e-3)


def test_tails_never_cross() -> None:
    plain = Latency.log_normal(1.0, 2.0)
    assert with_tails(plain, None, None, None) == plain
    odd = with_tails(plain, 2.0, 0.5, 0.1)
    assert odd.p90 <= odd.p95 <= odd.p99


def point(**fields: float | None) -> TokenPoint:
    ttft, tpot = fields.pop("ttft", None), fields.pop("tpot", None)
    blank = TokenPoint(100.0, 50.0, 10.0, (ttft,) * 4, (tpot,) * 4, None, "ours")
    return replace(blank, **fields)  # type: ignore[arg-type]


def test_what_points_do_not_tell_is_left_open() -> None:
    assert prompt_token_s([point(tpot=0.01)]) is None
    assert step_s(point(tpot=0.01), 0.001) == 0.01
    assert step_s(point(in_flight=2.0), 0.0) == pytest.approx((0.2 - REQUEST_S) / 10)
    # prefills that share passes take at most half of the time
    assert step_s(point(in_flight=20.0), 1.0) == pytest.approx((2.0 - REQUEST_S) / 20)


def test_tools_take_what_was_measured_at_as_many_at_once(tmp_path: Path) -> None:
    tool = load_library().get("rapidocr")
    assert tool is not None
    path = tmp_path / "p.csv"
    path.write_text(
        "model,device,tp,load_items_per_s,latency_p50_s,latency_p90_s,latency_p95_s,source\n"
        "rapidocr,cpu,0,10,0.1,0.11,0.15,ours\nrapidocr,cpu,0,25,0.16,0.2,,ours\n"
    )
    costs = ProfileCostModel(load_profiles([path], shipped=False))
    alone, four, eight = (
        costs.estimate(tool, {}, Slot(POOL, "cpu"), Work(items=(2.0, 2.0)), n).latency
        for n in (1, 4, 8)
    )
    assert alone.p50 == pytest.approx(0.2 + CALL_S)
    assert alone.p95 / alone.p50 == pytest.approx(1.5, rel=0.01)
    assert four.p50 == pytest.approx(0.32 + CALL_S)
    assert eight.p50 == pytest.approx(2 * four.p50)


def test_a_cluster_is_not_needed_to_know_an_endpoint(tmp_path: Path) -> None:
    attached = replace(SERVER, devices=("remote",))
    assert model(tmp_path, "remote").slots(attached, Cluster("none", ())) == (Slot(None, "remote"),)
