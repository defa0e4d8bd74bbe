"""Forecasts: only the past is looked at, growth is followed, errors widen the margin."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.forecast import ewma, known
from murakkab.passes.fleet.problem import fleet_problem
from murakkab.passes.fleet.readout import service_plan
from murakkab.passes.service.problem import Epoch
from murakkab.runtime.replay import replay

from .test_fleet import study

DAYS = st.lists(
    st.lists(st.floats(0.0, 1e4), min_size=3, max_size=3).map(tuple), min_size=2, max_size=6
)


def epochs(rows: list[tuple[float, ...]]) -> tuple[Epoch, ...]:
    return tuple(Epoch((row,), 60.0) for row in rows)


def test_steady_requests_are_expected_as_they_come() -> None:
    day = epochs([(10.0, 20.0)] * 4)
    assert ewma(day) == known(day) == day


def test_growth_is_followed_with_a_margin() -> None:
    day = epochs([(10.0,), (12.0,), (14.4,), (17.28,)])
    expected = [epoch.requests[0][0] for epoch in ewma(day)]
    assert expected[:2] == [10.0, 10.0]
    # a growth of 20 % was missed once: 6 % of growth, and twice 6 % of margin
    assert math.isclose(expected[2], 12.0 * 1.06 * 1.12)
    assert expected[3] > expected[2]


@given(DAYS, st.integers(1, 5), st.floats(0.0, 1e4))
def test_a_forecast_knows_nothing_of_what_is_to_come(
    rows: list[tuple[float, ...]], at: int, other: float
) -> None:
    number = at % len(rows) or len(rows) - 1
    changed = [*rows[:number], *[(other,) * 3] * (len(rows) - number)]
    assert ewma(epochs(rows))[: number + 1] == ewma(epochs(changed))[: number + 1]


def test_a_plan_by_forecast_is_replayed_with_what_comes() -> None:
    found = replace(study(), forecast="ewma")
    fleet = fleet_problem(found)
    plan = service_plan(found, fleet, plan_day(found, fleet, "joint"))
    assert plan.classes[0].requests == fleet.requests[0]
    outcome = {kind.name: kind for kind in replay(plan)}
    assert all(kind.in_time > 0.5 for kind in outcome.values())
