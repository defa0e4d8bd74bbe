"""The analytic model: what must hold of any server, whatever its constants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from murakkab.targets.catalog import Model, load_catalog
from murakkab.targets.perfconstants import CONSTANTS, PRECISIONS, engine_constants, version_key
from murakkab.targets.perfdevice import gpu_device
from murakkab.targets.perfmodel import Answers, Query, answers, weights

DENSE = Model(
    name="dense-8b",
    kind="llm",
    params=8e9,
    active_params=8e9,
    layers=32,
    hidden=4096,
    q_heads=32,
    kv_heads=8,
    head_dim=128,
    context_tokens=131072,
    weight_bytes=16e9,
    source="made up",
)
EXPERTS = replace(
    DENSE,
    name="experts-30b",
    params=30e9,
    active_params=3e9,
    kv_heads=4,
    weight_bytes=60e9,
    experts=128,
    experts_per_token=8,
    routed_params=28.8e9,
)
LATENT = replace(DENSE, name="latent", latent_kv_dim=576, kv_heads=128, q_heads=128)
WINDOWED = replace(DENSE, name="windowed", window_tokens=1024, window_fraction=0.75)


def query(model: Model = DENSE, gpu: str = "H100", **changes: object) -> Query:
    device = gpu_device(load_catalog().gpus[gpu])
    asked = Query(model, device, tp=1, batch=16, isl=1000, osl=200)
    return replace(asked, **changes)  # type: ignore[arg-type]


def one(model: Model = DENSE, gpu: str = "H100", **changes: object) -> Answers:
    return answers([query(model, gpu, **changes)])


def test_a_step_takes_at_least_what_reading_and_computing_take() -> None:
    for model in (DENSE, EXPERTS, LATENT, WINDOWED):
        for batch in (1, 8, 64, 512):
            asked = query(model, batch=batch)
            found = answers([asked])
            held = float(found.held[0])
            read = held * model.kv_bytes(1100) / asked.device.bandwidth_bytes_s
            computed = 2 * model.active_params * held / asked.device.rate("bf16")
            assert found.itl_s[0] > max(read, computed)
            assert found.tpot_s[0] > found.itl_s[0]


@pytest.mark.parametrize("model", [DENSE, EXPERTS, LATENT, WINDOWED])
def test_more_load_is_slower_for_each_and_faster_for_all(model: Model) -> None:
    found = answers([query(model, batch=batch) for batch in (1, 4, 16, 64)])
    for slower, faster in zip(range(1, 4), range(3), strict=True):
        assert found.itl_s[slower] > found.itl_s[faster]
        assert found.ttft_s[slower] > found.ttft_s[faster]
        assert found.tokens_per_s[slower] > found.tokens_per_s[faster]
        assert found.power_w[slower] >= found.power_w[faster]
        assert found.energy_j_per_token[slower] < found.energy_j_per_token[faster]


def test_queries_beside_each_other_are_answered_as_alone() -> None:
    asked = [query(), query(EXPERTS, tp=2), query(gpu="L4", batch=2), query(LATENT, batch=99)]
    together = answers(asked)
    for i, each in enumerate(asked):
        alone = answers([each])
        assert together.ttft_s[i] == pytest.approx(alone.ttft_s[0])
        assert together.power_w[i] == pytest.approx(alone.power_w[0])


def test_faster_memory_and_more_gpus_speed_decoding_up() -> None:
    assert one(gpu="H200").itl_s[0] < one(gpu="H100").itl_s[0] < one(gpu="L4").itl_s[0]
    assert one(tp=4).itl_s[0] < one(tp=2).itl_s[0] < one(tp=1).itl_s[0]


def test_gpus_joined_by_pcie_gain_less() -> None:
    def gain(gpu: str) -> float:
        return float(one(gpu=gpu, batch=1).itl_s[0] / one(gpu=gpu, batch=1, tp=4).itl_s[0])

    assert gain("A100-SXM4-80GB") > gain("A100-PCIe-80GB")


def test_few_sequences_touch_few_experts() -> None:
    few, many = one(EXPERTS, batch=1, isl=10), one(EXPERTS, batch=64, isl=10)
    dense = one(replace(EXPERTS, experts=0, routed_params=0.0), batch=1, isl=10)
    assert few.itl_s[0] < 0.5 * many.itl_s[0]
    assert few.itl_s[0] < 0.5 * dense.itl_s[0]


def test_the_busiest_gpu_makes_expert_parallel_steps_longer() -> None:
    assert one(EXPERTS, tp=2, expert_parallel=True).itl_s[0] > one(EXPERTS, tp=2).itl_s[0]
    assert one(DENSE, tp=2, expert_parallel=True).itl_s[0] == one(DENSE, tp=2).itl_s[0]


def test_windows_and_latent_attention_hold_more_sequences() -> None:
    assert one(WINDOWED, isl=8000).room[0] > 2 * one(DENSE, isl=8000).room[0]
    assert one(LATENT).room[0] > 3 * one(DENSE).room[0]
    # each GPU keeps the latent vectors whole, where heads are shared out
    assert one(LATENT, tp=4).room[0] < 2 * one(LATENT).room[0] < one(DENSE, tp=4).room[0] * 4


def test_requests_beyond_memory_wait() -> None:
    full = float(one(isl=8000).room[0])
    short, over = one(isl=8000, batch=full), one(isl=8000, batch=3 * full)
    assert over.held[0] == pytest.approx(full)
    assert over.tokens_per_s[0] == pytest.approx(short.tokens_per_s[0])
    assert over.ttft_s[0] > short.ttft_s[0] + 200 * over.tpot_s[0]


def test_memory_is_that_of_weights_cache_and_runtime() -> None:
    alone, both = one(batch=1), one(batch=1, tp=2)
    assert 17.5e9 < alone.memory_bytes[0] < 20e9
    assert both.memory_bytes[0] < alone.memory_bytes[0] - 7e9
    more = one(batch=101).memory_bytes[0] - alone.memory_bytes[0]
    assert more == pytest.approx(100 * DENSE.kv_bytes(1100))


def test_smaller_weights_are_faster_and_leave_more_room() -> None:
    times = [float(one(precision=p, batch=1).itl_s[0]) for p in ("int4", "fp8", "bf16")]
    assert times == sorted(times)
    rooms = [float(one(precision=p).room[0]) for p in ("bf16", "fp8", "int4")]
    assert rooms == sorted(rooms)


def test_published_weights_are_what_their_files_hold() -> None:
    packed = replace(EXPERTS, precision="mxfp4", weight_bytes=18e9)
    dense, routed = weights(packed, "mxfp4")
    assert dense + routed == pytest.approx(18e9)
    assert sum(weights(DENSE, "fp8")) == pytest.approx(8e9)
    assert sum(weights(EXPERTS, "mxfp4")) == pytest.approx(1.2e9 * 2 + 28.8e9 * 17 / 32)


def test_a_table_shared_with_the_output_layer_is_read() -> None:
    sized = replace(DENSE, vocab=128_000, intermediate=14336)
    layers = 32 * 4096 * (2 * 40 * 128 + 3 * 14336)
    apart = replace(sized, params=layers + 2 * 128_000 * 4096)
    shared = replace(sized, params=layers + 128_000 * 4096)
    assert one(apart, batch=1).itl_s[0] < one(DENSE, batch=1).itl_s[0]
    assert one(shared, batch=1).itl_s[0] == pytest.approx(one(DENSE, batch=1).itl_s[0], rel=0.05)


def test_power_is_between_idle_and_the_limit() -> None:
    for gpu in ("T4", "L4", "A100", "H100", "B200"):
        for batch in (1, 32, 1024):
            asked = query(gpu=gpu, batch=batch)
            drawn = float(answers([asked]).power_w[0])
            assert asked.device.idle_w < drawn <= asked.device.busy_w


def test_outputs_of_uneven_length_are_met_longer_in_flight() -> None:
    assert one(spread=1.0).itl_s[0] > one().itl_s[0]


def test_versions_take_the_newest_that_is_not_newer() -> None:
    assert version_key("1.0.0rc3") == (1, 0, 0)
    assert version_key("v0.18") == (0, 18)
    old, new = (figures for _, figures in CONSTANTS.engines["vllm"])
    assert engine_constants(CONSTANTS, "vllm", "0.9.2") is old
    assert engine_constants(CONSTANTS, "vllm", "0.17.9") is old
    assert engine_constants(CONSTANTS, "vllm", "0.19") is new
    assert engine_constants(CONSTANTS, "vllm", "") is new
    with pytest.raises(KeyError):
        engine_constants(CONSTANTS, "ollama", "")


def test_every_precision_and_engine_has_answers() -> None:
    asked = [
        query(EXPERTS, precision=precision, engine=engine)
        for precision in PRECISIONS
        for engine in CONSTANTS.engines
    ]
    found = answers(asked)
    assert (found.tokens_per_s > 0).all()
    assert (found.ttft_s > 0).all()
