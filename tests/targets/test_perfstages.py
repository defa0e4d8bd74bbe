"""Stages that are no language model: items a second from FLOP, by GPU and batch."""

from __future__ import annotations

import pytest

from murakkab.targets.catalog import load_catalog
from murakkab.targets.perfdevice import gpu_device, processor_device
from murakkab.targets.perfstages import STAGE_KINDS, StageQuery, item_flops, stage_answers


def query(model: str, gpu: str = "H100", batch: float = 1, tokens: float = 0) -> StageQuery:
    catalog = load_catalog()
    device = gpu_device(catalog.gpus[gpu])
    return StageQuery(catalog.models[model], device, batch, tokens=tokens)


def test_items_take_their_flop_and_batches_a_launch() -> None:
    found = stage_answers([query("yolo26x", "T4", batch=batch) for batch in (1, 2, 64)])
    item_s = found.batch_s[1] - found.batch_s[0]
    assert found.batch_s[2] == pytest.approx(found.batch_s[1] + 62 * item_s)
    assert found.batch_s[0] > item_s + STAGE_KINDS["detector"].launch_s
    assert found.items_per_s[0] < found.items_per_s[1] < found.items_per_s[2] < 1 / item_s


def test_larger_models_take_longer_and_larger_gpus_less() -> None:
    small, large = stage_answers([query("yolo26m"), query("yolo26x")]).batch_s
    assert small < large
    times = stage_answers([query("yolo26x", gpu) for gpu in ("T4", "L4", "H100", "B200")]).batch_s
    assert list(times) == sorted(times, reverse=True)


def test_text_is_counted_by_its_tokens() -> None:
    model = load_catalog().models["thenlper/gte-large"]
    assert item_flops(model, 512) == pytest.approx(512 * item_flops(model, 1))
    short, long = stage_answers(
        [query("thenlper/gte-large", tokens=64), query("thenlper/gte-large", tokens=512)]
    ).batch_s
    assert short < long


def test_speech_gains_with_bandwidth_and_detection_does_not() -> None:
    def gain(model: str) -> float:
        h100, h200 = stage_answers([query(model), query(model, "H200")]).batch_s
        return float(h100 / h200)

    assert gain("openai/whisper-large-v3") > 1.05
    assert gain("yolo26x") == pytest.approx(1.0)


def test_power_rises_from_idle_with_work() -> None:
    found = stage_answers([query("yolo26n", batch=1), query("yolo26x", batch=64)])
    gpu = load_catalog().gpus["H100"]
    assert gpu.idle_w < found.power_w[0] < found.power_w[1] < gpu.tdp_w
    assert found.energy_j_per_item[1] == pytest.approx(found.power_w[1] / found.items_per_s[1])


def test_a_cpu_reaches_a_share_of_its_peak() -> None:
    catalog = load_catalog()
    cpu = processor_device(catalog.cpus["Xeon-8480C"])
    slow, fast = stage_answers(
        [StageQuery(catalog.models["yolo26x"], cpu), query("yolo26x", "L4")]
    ).batch_s
    assert slow > fast
