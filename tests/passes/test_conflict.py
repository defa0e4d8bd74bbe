"""Infeasible jobs: which requirements contradict, and what could be met instead."""

from dataclasses import replace

import pytest

from murakkab.passes.job.conflict import not_found
from murakkab.passes.job.greedy import closest
from murakkab.passes.job.problem import (
    Conflict,
    EngineOption,
    Infeasible,
    Limit,
    Mode,
    Nearest,
    Pool,
    Problem,
    Step,
    Times,
)
from murakkab.passes.job.refutation import Refutation
from murakkab.passes.job.solver import solve

from .test_job_solver import small

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


def values(found: Conflict) -> dict[str, float]:
    return {nearest.text: nearest.value for nearest in found.nearest}


def test_the_limits_that_contradict_are_named_and_no_others() -> None:
    found = conflict(job(QUICK, CHEAP, RIGHT))
    assert set(found.reasons) == {QUICK.text, RIGHT.text}
    nearest = values(found)
    assert nearest[QUICK.text] == pytest.approx(10.0, rel=1e-3)
    assert nearest[RIGHT.text] == pytest.approx(0.8)


def test_the_nearest_value_can_be_met() -> None:
    value = values(conflict(job(QUICK, RIGHT)))[QUICK.text]
    met = solve(job(replace(QUICK, value=value), RIGHT), budget=1.0)
    assert met.metrics.latency_s[0] <= value


def test_a_pool_that_is_too_small_is_named() -> None:
    assert conflict(job(CHEAP, gpus=1)).reasons == ("pool `a100` has 1 GPU",)


@pytest.mark.parametrize("seed", range(8))
def test_no_sentence_of_a_conflict_can_be_left_out(seed: int) -> None:
    """Three limits below what random jobs reach: those named conflict, and all but one do not."""
    problem = small(seed, ("cost",))
    try:
        free = solve(problem, budget=1.0).metrics
    except Infeasible:
        free = None  # a conflict by itself
    limits = problem.limits
    if free is not None:
        limits = (
            *limits,
            Limit("cost", "<=", 1.01 * free.cost_usd, "cost is least"),
            Limit("latency", "<=", 0.6 * free.latency_s[0], "latency is short"),
            Limit("gpus", "<", float(free.gpus), "gpus are fewer"),
        )
    try:
        solve(replace(problem, limits=limits), budget=1.0)
        return
    except Infeasible as error:
        found = error.conflict
    assert found.proved
    named = [limit for limit in limits if limit.text in found.reasons]
    if len(named) < len(found.reasons):
        return  # capacities beside limits
    with pytest.raises(Infeasible):
        solve(replace(problem, limits=tuple(named)), budget=1.0)
    for left_out in named:
        rest = tuple(limit for limit in named if limit is not left_out)
        assert solve(replace(problem, limits=rest), budget=1.0).modes
    for text, value in values(found).items():
        met = tuple(replace(x, op="<=", value=value) if x.text == text else x for x in named)
        if all(x.metric != "accuracy" for x in met if x.text == text):
            assert solve(replace(problem, limits=met), budget=1.0).modes


def test_more_than_everything_is_refused_with_a_proof() -> None:
    found = conflict(job(Limit("accuracy", ">", 1.0, "accuracy > 1")))
    assert found.proved
    assert found.reasons == ("accuracy > 1",)
    assert found.nearest == (Nearest("accuracy > 1", 1.0),)


@pytest.mark.parametrize(("op", "fits"), [("<", False), ("<=", True)])
def test_a_strict_limit_excludes_its_value(op: str, fits: bool) -> None:
    limits = (Limit("latency", op, 10.0, f"latency {op} 10 s"), RIGHT)
    if fits:
        assert solve(job(*limits), budget=1.0).metrics.latency_s[0] == 10.0
    else:
        assert set(conflict(job(*limits)).reasons) == {x.text for x in limits}


def test_a_search_that_ends_without_a_proof_says_what_came_nearest() -> None:
    problem = job(QUICK, CHEAP, RIGHT)
    found = not_found(problem, closest(problem))
    assert not found.proved
    assert len(found.reasons) == 1
    assert values(found)[found.reasons[0]] in (10.0, 0.8)
    assert conflict(job(QUICK, RIGHT)).proved


SHORT = Limit("latency", "<=", 1.0, "latency <= 1 s")
THRIFTY = Limit("energy", "<=", 0.5, "energy <= 0.5 J")


def test_conflicts_beside_each_other_are_all_found() -> None:
    """Neither time nor energy can be had, each by itself; what conflicts with them is no news."""
    found = conflict(job(SHORT, THRIFTY, CHEAP, RIGHT))
    parts = (found, *found.further)
    assert {part.reasons for part in parts} == {(SHORT.text,), (THRIFTY.text,)}
    (seconds,), (joules,) = sorted((part.nearest for part in parts), key=lambda n: n[0].text)[::-1]
    assert seconds.value == pytest.approx(10.0, rel=1e-3)
    assert seconds.aside == (THRIFTY.text,)
    assert joules.aside == (SHORT.text,)
    met = tuple(
        replace(limit, value=nearest.value)
        for limit, nearest in ((SHORT, seconds), (THRIFTY, joules))
    )
    for kept in met:
        assert solve(job(kept, CHEAP, RIGHT), budget=1.0).modes


@pytest.mark.parametrize("seed", range(6))
def test_a_linear_programme_refutes_nothing_that_can_be_met(seed: int) -> None:
    problem = small(seed, ("cost",))
    try:
        found = solve(problem, budget=1.0).metrics
    except Infeasible:
        return
    limits = (
        *problem.limits,
        Limit("latency", "<=", found.latency_s[-1], "as late", len(problem.percentiles) - 1),
        Limit("cost", "<=", found.cost_usd, "as dear"),
        Limit("energy", "<=", found.energy_j, "as much"),
    )
    words = {limit.text for limit in limits}
    refutation = Refutation(replace(problem, limits=limits))
    assert not refutation.refutes(words)
    assert refutation.least(limits[-1], words) <= found.energy_j * (1 + 1e-6)
    nothing = Limit("latency", "<=", 0.0, "in no time")
    assert Refutation(replace(problem, limits=(nothing,))).refutes({nothing.text})
