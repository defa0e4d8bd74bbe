"""Infeasible jobs: which requirements contradict, and what could be met instead."""

from dataclasses import replace

import pytest

from murakkab.passes.conflict import not_found
from murakkab.passes.jobsolver import solve
from murakkab.passes.problem import (
    Conflict,
    EngineOption,
    Infeasible,
    Limit,
    Mode,
    Pool,
    Problem,
    Step,
    Times,
)

SERVER = EngineOption("server", 0, True, 1, 2, 1, 1.0, 0.0, 4, 0.0, 0.0, 0.0, 1.0, 0.0, "server")
GOOD = Mode("good", 0, 1, (Times(10.0, 10.0, 10.0),), 1.0, 0.0, 1.0)
FAST = Mode("fast", 0, 1, (Times(2.0, 2.0, 2.0),), 1.0, 0.0, 0.8)
QUICK = Limit("latency", "<=", 5.0, "latency <= 5 s")
RIGHT = Limit("accuracy", ">=", 0.9, "accuracy >= 0.9")
CHEAP = Limit("energy", "<=", 1e6, "energy <= 1 MJ")


def job(*limits: Limit, gpus: int = 4) -> Problem:
    pool = Pool("a100", 1, gpus, 8, 100.0)
    return Problem((Step("a", (GOOD, FAST)),), (SERVER,), (pool,), ("energy",), limits)


def conflict(problem: Problem) -> Conflict:
    with pytest.raises(Infeasible) as caught:
        solve(problem, budget=1.0)
    return caught.value.conflict


def test_the_limits_that_contradict_are_named_and_no_others() -> None:
    found = conflict(job(QUICK, CHEAP, RIGHT))
    assert set(found.reasons) == {QUICK.text, RIGHT.text}
    nearest = dict(found.nearest)
    assert nearest[QUICK.text] == pytest.approx(10.0, rel=1e-3)
    assert nearest[RIGHT.text] == pytest.approx(0.8)


def test_the_nearest_value_can_be_met() -> None:
    value = dict(conflict(job(QUICK, RIGHT)).nearest)[QUICK.text]
    met = solve(job(replace(QUICK, value=value), RIGHT), budget=1.0)
    assert met.metrics.latency_s[0] <= value


def test_a_pool_that_is_too_small_is_named() -> None:
    assert conflict(job(CHEAP, gpus=1)).reasons == ("pool `a100` has 1 GPU",)


def test_a_search_that_ends_without_a_proof_says_what_came_nearest() -> None:
    found = not_found(job(QUICK, CHEAP, RIGHT))
    assert not found.proved
    assert len(found.reasons) == 1
    assert dict(found.nearest)[found.reasons[0]] in (10.0, 0.8)
    assert conflict(job(QUICK, RIGHT)).proved
