"""Anchors: measured points win, and what they say fades with the distance of the load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from murakkab.targets.catalog import load_catalog
from murakkab.targets.perfanchor import Trend, anchor
from murakkab.targets.perfdevice import gpu_device
from murakkab.targets.perfmodel import Query, answers
from murakkab.targets.profiles import TokenPoint

QUERY = Query(
    model=load_catalog().models["Qwen/Qwen3-8B"],
    device=gpu_device(load_catalog().gpus["H100"]),
    tp=1,
    batch=16,
    isl=500,
    osl=200,
)


def point(batch: float, factor: float) -> TokenPoint:
    """A server that takes `factor` times what the model says, and draws as it says."""
    found = answers([replace(QUERY, batch=batch)])
    tpot = factor * float(found.tpot_s[0])
    return TokenPoint(
        load_tokens_per_s=batch / tpot,
        isl_tok=500,
        osl_tok=200,
        ttft_s=(None, None, None, None),
        tpot_s=(tpot, None, None, None),
        power_w=float(found.power_w[0]),
        source="made up",
        in_flight=batch,
    )


def test_a_measured_point_wins_at_its_load() -> None:
    found = anchor([point(16, 1.3)], QUERY)
    assert found is not None and found.time is not None and found.power is not None
    assert found.time.at(16.0) == pytest.approx(1.3)
    assert found.power.at(16.0) == pytest.approx(1.0)
    assert found.first is None
    assert found.time.covers(16) and not found.time.covers(20)


def test_between_points_their_factors_are_interpolated() -> None:
    found = anchor([point(4, 1.1), point(16, 1.3)], QUERY)
    assert found is not None and found.time is not None
    assert found.time.at(4.0) == pytest.approx(1.1)
    assert 1.1 < found.time.at(8.0) < 1.3
    assert found.time.covers(8)


def test_small_differences_fade_and_large_ones_stay() -> None:
    small, large = Trend((0.0,), (0.05,)), Trend((0.0,), (1.0,))
    assert small.at(1.0) > small.at(8.0) > small.at(64.0) > 1.0
    kept = [float(trend.at(64.0)) for trend in (small, large)]
    assert (kept[0] - 1) / (small.at(1.0) - 1) < (kept[1] - 1) / (large.at(1.0) - 1)


def test_unknown_prompts_compare_with_the_median_step() -> None:
    known, unknown = point(64, 1.0), replace(point(64, 1.0), isl_tok=None)
    found = [anchor([p], QUERY) for p in (known, unknown)]
    times = [a.time.at(64.0) for a in found if a is not None and a.time is not None]
    assert times[0] == pytest.approx(1.0)
    assert times[1] > 1.0  # the same time holds prompts, where a median step has none


def test_no_points_are_no_anchor() -> None:
    assert anchor([], QUERY) is None
