"""The budget of repetitions: how much more than its calls a run may ask of its engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.runtime.repeats import Repeats
from murakkab.targets.failure_policy import USUAL, Cause, FailurePolicy

CAUSES: tuple[Cause, ...] = ("connection", "timeout", "status", "malformed", "raised")
events = st.lists(st.sampled_from(("first", "hedge", *CAUSES)), max_size=300)


@given(events, st.integers(0, 10), st.floats(0.0, 1.0), st.integers(0, 20))
def test_repetitions_stay_within_the_floor_and_the_share(
    happened: list[str], floor: int, share: float, window: int
) -> None:
    repeats = Repeats(FailurePolicy(retry_floor=floor, retry_share=share), window)
    calls = asked = lost = 0
    for event in happened:
        if event == "first":
            calls = repeats.first()
        elif event == "hedge":
            asked += repeats.hedge()
        elif event == "connection":
            lost += repeats.take("connection")
        else:
            asked += repeats.take(event)  # type: ignore[arg-type]  # one of CAUSES
        assert asked <= max(floor, share * calls)
        assert asked + lost <= max(floor + window, share * calls)
        assert repeats.made == asked + lost


@given(st.integers(0, 100))
def test_without_a_floor_a_tenth_of_the_calls_is_repeated(calls: int) -> None:
    repeats = Repeats(FailurePolicy(retry_floor=0))
    for _ in range(calls):
        repeats.first()
    assert sum(repeats.take("status") for _ in range(200)) == calls // 10


def test_hedges_leave_half_of_the_budget_to_what_failed() -> None:
    repeats = Repeats(FailurePolicy(retry_floor=10))
    assert sum(repeats.hedge() for _ in range(50)) == 5
    assert sum(repeats.take("timeout") for _ in range(50)) == 5
    assert not repeats.hedge()


def test_a_server_that_dies_may_take_all_its_calls_with_it() -> None:
    repeats = Repeats(USUAL, window=500)
    assert sum(repeats.take("connection") for _ in range(500)) == 500
    assert sum(repeats.take("status") for _ in range(1000)) == USUAL.retry_floor
    assert not repeats.take("connection")


def test_whatever_fails_a_large_run_repeats_a_tenth_in_all() -> None:
    repeats = Repeats(USUAL, window=128)
    for _ in range(10_000):
        repeats.first()
    asked = [repeats.take(cause) for _ in range(10_000) for cause in CAUSES]
    assert sum(asked) + sum(repeats.hedge() for _ in range(100)) == 1000


@pytest.mark.parametrize("cause", CAUSES)
def test_only_what_the_policy_names_is_repeated(cause: Cause) -> None:
    assert not Repeats(FailurePolicy(retry=())).take(cause)
    assert Repeats(FailurePolicy(retry=(cause,))).take(cause)
