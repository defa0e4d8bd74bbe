"""The cost model: physics it must obey, money it must not invent, and what it refuses."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.targets.catalog import load_catalog
from murakkab.targets.cluster import Cluster, Pool, load_cluster
from murakkab.targets.cost import CostModel, Slot, Work
from murakkab.targets.costmodel import ProfileCostModel
from murakkab.targets.library import Executor, load_library
from murakkab.targets.profiles import load_profiles

EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"
A100S = load_cluster(EXAMPLES / "two-a100-nodes.toml")
LAPTOP = load_cluster(EXAMPLES / "laptop-cpu.toml")
LIBRARY = load_library()
MODEL: CostModel = ProfileCostModel()
WORK = Work((1000, 1500), (200, 300), (10, 15))
SERVERS = [e for e in LIBRARY.executors if e.runner == "vllm"]


def named(name: str) -> Executor:
    executor = LIBRARY.get(name)
    assert executor is not None
    return executor


def cluster(gpu: str, gpus: int, usd_per_h: float = 8.0) -> Cluster:
    catalog = load_catalog()
    cpu = catalog.cpus["EPYC-9654"].node(96)
    pool = Pool("p", 1, cpu, catalog.gpus[gpu], gpus, 900e9, usd_per_h / 3600)
    return Cluster("c", (pool,))


H100S = cluster("H100", 8)
gpu_slots = [(e, s) for e in SERVERS for c in (A100S, H100S) for s in MODEL.slots(e, c)]


@given(st.sampled_from(gpu_slots), st.integers(1, 4000), st.integers(1, 1000))
def test_more_tokens_take_longer(place: tuple[Executor, Slot], prompt: int, output: int) -> None:
    executor, slot = place
    base = MODEL.estimate(executor, {}, slot, Work((prompt, prompt), (output, output)), 8)
    longer = MODEL.estimate(executor, {}, slot, Work((prompt, prompt), (output + 50,) * 2), 8)
    wider = MODEL.estimate(executor, {}, slot, Work((prompt + 500,) * 2, (output, output)), 8)
    assert longer.latency.p50 > base.latency.p50
    assert wider.latency.p50 > base.latency.p50


@given(st.sampled_from(gpu_slots), st.integers(1, 4000), st.integers(1, 1000))
def test_more_calls_in_flight(place: tuple[Executor, Slot], prompt: int, output: int) -> None:
    executor, slot = place
    work = Work((prompt, 1.5 * prompt), (output, 2 * output))
    found = [
        MODEL.estimate(executor, {}, slot, work, c) for c in MODEL.concurrencies(executor, slot)
    ]
    for few, many in pairwise(found):
        # throughput never falls, beyond the noise of measured points; no call gets faster
        assert many.calls_per_s >= few.calls_per_s * 0.99
        assert many.latency.p50 >= few.latency.p50 * 0.999


@given(st.sampled_from(gpu_slots), st.sampled_from([1, 3, 16, 200]))
def test_estimates_are_sane(place: tuple[Executor, Slot], concurrency: int) -> None:
    executor, slot = place
    assert slot.pool is not None
    found = MODEL.estimate(executor, {}, slot, WORK, concurrency)
    times = [found.latency.at(p) for p in ("p50", "p90", "p95", "p99")]
    assert times == sorted(times)
    assert all(map(math.isfinite, times))
    assert found.idle_w < found.busy_w
    assert found.cores <= slot.pool.cpu.cores
    assert found == MODEL.estimate(executor, {}, slot, WORK, concurrency)
    if slot.pool.gpu is not None and slot.gpus:
        assert found.busy_w <= slot.gpus * slot.pool.gpu.tdp_w + slot.pool.cpu.busy_w
        assert found.gpu_memory_bytes <= slot.pool.gpu.memory_bytes


def test_tensor_parallelism_shortens_calls_and_stays_in_the_node() -> None:
    executor = named("llama-3.1-70b")
    slots = MODEL.slots(executor, A100S)
    assert [str(s) for s in slots] == ["a100/gpu x4", "a100/gpu x8"]
    four, eight = (MODEL.estimate(executor, {}, s, WORK, 1) for s in slots)
    assert eight.latency.p50 < four.latency.p50
    assert [s.gpus for s in MODEL.slots(executor, cluster("A100", 4))] == [4]


def test_heads_share_out_evenly() -> None:
    heads = load_catalog().models["google/gemma-3-4b-it"].q_heads
    assert [s.gpus for s in MODEL.slots(named("gemma-3-4b"), A100S)] == [1, 2, 4, 8]
    assert heads % 8 == 0


def test_what_does_not_fit_is_refused_in_words() -> None:
    big = named("llama-3.1-70b")
    assert MODEL.slots(big, cluster("T4", 8)) == ()
    assert MODEL.why_not(big, cluster("T4", 8)) == (
        "the 141 GB of weights of `meta-llama/Llama-3.1-70B-Instruct` do not fit on the GPUs of "
        "any node of `c`"
    )
    assert MODEL.why_not(big, LAPTOP) == "it needs a GPU and `laptop-cpu` has none"
    assert MODEL.why_not(big, A100S) is None
    unknown = replace(big, name="x", model="nobody/nothing")
    assert "no figures for `nobody/nothing`" in str(MODEL.why_not(unknown, A100S))
    huge = replace(named("rapidocr"), memory_bytes=1e12)
    assert MODEL.why_not(huge, LAPTOP) == (
        "no node of `laptop-cpu` has the cores and memory that it needs"
    )


def test_memory_bounds_the_calls_in_flight() -> None:
    executor = named("llama-3.1-8b")
    (slot,) = MODEL.slots(executor, cluster("L4", 1))
    assert MODEL.concurrencies(executor, slot)[-1] < 64
    long = Work((6000, 6000), (500, 500))
    few, many = (MODEL.estimate(executor, {}, slot, long, c) for c in (16, 64))
    # what memory cannot hold waits: no more throughput, proportionally longer
    assert many.calls_per_s == pytest.approx(few.calls_per_s)
    assert many.latency.p50 == pytest.approx(4 * few.latency.p50)


def test_measured_points_are_met() -> None:
    executor = named("llama-3.1-8b")
    slot = MODEL.slots(executor, H100S)[0]
    points = load_profiles().tokens[executor.model or "", "H100-SXM5-80GB", 1]
    for point in points:
        output = point.osl_tok or 0.0
        work = Work((200, 200), (output, output))
        found = MODEL.estimate(executor, {}, slot, work, round(point.concurrency))
        # a call's time per token also carries the prefills it shares the GPU with
        tpot = point.tpot_s[0] or 0.0
        assert tpot * 0.98 < found.latency.p50 / output < tpot * 1.25
        assert found.source == "shipped"


def test_where_nothing_was_measured_the_answer_says_so() -> None:
    executor = named("llama-3.1-8b")
    sources = [
        MODEL.estimate(executor, {}, s, WORK, 1).source for s in MODEL.slots(executor, H100S)
    ]
    assert sources == ["shipped", "analytic", "analytic", "analytic"]
    bands = [
        MODEL.estimate(executor, {}, s, WORK, 1).error_band for s in MODEL.slots(executor, H100S)
    ]
    assert bands[0] < bands[1]


def test_the_parts_of_a_node_cost_the_node() -> None:
    price = A100S.pools[0].usd_per_s
    executor = named("llama-3.1-70b")
    four, eight = (MODEL.estimate(executor, {}, s, WORK, 1) for s in MODEL.slots(executor, A100S))
    assert eight.usd_per_s == pytest.approx(price)
    assert four.usd_per_s == pytest.approx(price / 2)


def test_cores_cost_their_share_but_no_more_than_cores_cost_elsewhere() -> None:
    tool = named("pyscenedetect")
    pool = replace(LAPTOP.pools[0], usd_per_s=1.0)
    on_cpu_node = MODEL.estimate(tool, {}, Slot(pool, "cpu"), WORK, 2)
    assert on_cpu_node.usd_per_s == pytest.approx(2 / 8)
    on_gpu_node = MODEL.estimate(tool, {}, MODEL.slots(tool, A100S)[0], WORK, 96)
    assert on_gpu_node.usd_per_s * 3600 == pytest.approx(4.284)
    free = replace(A100S.pools[0], usd_per_s=0.0)
    assert MODEL.estimate(tool, {}, Slot(free, "cpu"), WORK, 96).usd_per_s == 0


def test_speech_is_cheaper_on_a_gpu_than_on_the_cores_beside_it() -> None:
    executor = named("whisper-large-v3")
    gpu, cpu = (MODEL.estimate(executor, {}, s, WORK, 1) for s in MODEL.slots(executor, A100S))
    assert gpu.usd_per_s / gpu.calls_per_s < cpu.usd_per_s / cpu.calls_per_s


def test_tools_run_on_as_many_cores_as_there_are() -> None:
    tool = named("rapidocr")
    (slot,) = MODEL.slots(tool, LAPTOP)
    assert MODEL.concurrencies(tool, slot) == (1, 2, 4, 8)
    one, eight, sixteen = (MODEL.estimate(tool, {}, slot, WORK, c) for c in (1, 8, 16))
    assert eight.latency == one.latency
    assert eight.calls_per_s == pytest.approx(8 * one.calls_per_s)
    assert sixteen.calls_per_s == pytest.approx(eight.calls_per_s)
    assert (one.cores, eight.cores, sixteen.cores) == (1, 8, 8)
    assert eight.memory_bytes == 8 * tool.memory_bytes
    assert eight.busy_w == pytest.approx(LAPTOP.pools[0].cpu.busy_w)


def test_an_unmeasured_tool_is_only_declared() -> None:
    tool = replace(named("rapidocr"), name="somebody-elses")
    found = MODEL.estimate(tool, {}, Slot(LAPTOP.pools[0], "cpu"), WORK, 1)
    assert found.source == "declared"
    assert found.error_band == 1.0


def test_a_cap_on_the_output_bounds_the_call() -> None:
    executor = named("llama-3.1-8b")
    slot = MODEL.slots(executor, A100S)[0]
    free, capped = (MODEL.estimate(executor, k, slot, WORK, 4) for k in ({}, {"max_tokens": 50}))
    assert capped.latency.p50 < free.latency.p50
    assert capped == MODEL.estimate(executor, {}, slot, Work((1000, 1500), (50, 50)), 4)


def test_a_hosted_model_is_charged_by_the_token() -> None:
    hosted = replace(
        named("llama-3.1-8b"), runner="openai", devices=("remote",), usd_per_mtok=(1.0, 4.0)
    )
    (slot,) = MODEL.slots(hosted, LAPTOP)
    assert str(slot) == "remote"
    found = MODEL.estimate(hosted, {}, slot, WORK, 4)
    assert found.usd_per_call == pytest.approx((1000 * 1 + 200 * 4) / 1e6)
    assert (found.usd_per_s, found.busy_w, found.cores) == (0, 0, 0)


def test_newer_hardware_is_faster() -> None:
    executor = named("gemma-3-27b")
    times = [
        MODEL.estimate(
            executor, {}, MODEL.slots(executor, cluster(gpu, 8))[-1], WORK, 8
        ).latency.p50
        for gpu in ("L40S", "A100", "H100", "H200", "B200")
    ]
    assert times == sorted(times, reverse=True)


def test_speech_models_also_run_on_cpus() -> None:
    executor = named("whisper-base")
    places = [str(s) for s in MODEL.slots(executor, A100S)]
    assert places == ["a100/gpu x1", "a100/cpu"]
    gpu, cpu = (MODEL.estimate(executor, {}, s, WORK, 1) for s in MODEL.slots(executor, A100S))
    assert gpu.latency.p50 < cpu.latency.p50
    assert cpu.gpu_memory_bytes == 0
