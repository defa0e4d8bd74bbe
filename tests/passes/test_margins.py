"""Margins for chance: enough in a replay that has chance decide, and no more for what may wait."""

from __future__ import annotations

import math
from dataclasses import replace

from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.margins import QUANTILE, with_margin
from murakkab.passes.fleet.problem import fleet_problem
from murakkab.passes.fleet.readout import service_plan
from murakkab.passes.service.problem import Epoch, RequestClass
from murakkab.runtime.replay import replay
from murakkab.targets.service_plan import ServicePlan, summarise

from .test_fleet import study

FAST = RequestClass("fast", (), latency_s=6.0, work_cv=0.5)
PATIENT = RequestClass("patient", (), wait_s=60.0)


def test_the_margin_is_that_of_square_root_staffing() -> None:
    (found,) = with_margin([Epoch(((600.0,), (600.0,)), 60.0)], [FAST, PATIENT])
    # 60 requests in 6 seconds, and 600 in a minute
    assert math.isclose(found.requests[0][0], 600 * (1 + QUANTILE * math.sqrt(1.25 / 60)))
    assert math.isclose(found.requests[1][0], 600 * (1 + QUANTILE * math.sqrt(1 / 600)))


def test_no_requests_need_no_room() -> None:
    (found,) = with_margin([Epoch(((0.0,),), 60.0)], [FAST])
    assert found.requests == ((0.0,),)


def planned(sizing: str) -> ServicePlan:
    found = replace(study(2), sizing=sizing)  # type: ignore[arg-type]
    fleet = fleet_problem(found)
    return service_plan(found, fleet, plan_day(found, fleet, "joint"))


def test_mean_sizes_with_a_margin_hold_when_chance_decides_and_cost_less() -> None:
    lean = planned("mean")
    for kind in replay(lean, seed=1, step_s=1.0):
        assert kind.in_time >= 0.98, kind  # two quiet hours; 99.8 % over the day
    assert summarise(lean).usd < summarise(planned("p90")).usd


def test_a_replay_with_a_seed_can_be_repeated() -> None:
    lean = planned("mean")
    assert replay(lean, seed=3) == replay(lean, seed=3) != replay(lean, seed=4)
