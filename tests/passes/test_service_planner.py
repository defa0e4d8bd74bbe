"""Plans of services: never dearer than any other plan, within what there is, and in time."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.passes.service import model, planner
from murakkab.passes.service.planner import Planner, plan_epochs
from murakkab.passes.service.problem import (
    Backlog,
    Column,
    Engine,
    Epoch,
    EpochPlan,
    Hardware,
    NoRoom,
    RequestClass,
    ServiceProblem,
    Stage,
    Variant,
)

from .test_service_columns import every, stages_of

POOL = (Hardware("p", "A100", 1000, 0),)


def engine(name: str, gpus: int = 1, **more: float) -> Engine:
    return Engine(name, 0, gpus, 0, usd_per_s=gpus * 1.0, idle_w=10.0 * gpus, **more)  # type: ignore[arg-type]


def one(
    name: str, *busy_s: float, wait_s: float = 0.0, accuracy: float | None = None
) -> RequestClass:
    """Return a class of one stage that engine `i` serves in `busy_s[i]` seconds of an instance."""
    variants = (Variant(f"on {i}", i, s, 1.0, 0.5 + 0.1 * i) for i, s in enumerate(busy_s))
    return RequestClass(name, (Stage("s", tuple(variants)),), accuracy=accuracy, wait_s=wait_s)


def loads(problem: ServiceProblem, epoch: Epoch, plan: EpochPlan) -> list[list[float]]:
    """Return the instance-seconds of work by engine and period, from what is served alone."""
    periods = len(epoch.requests[0])
    found = [[0.0] * periods for _ in problem.engines]
    for columns, rows in zip(plan.columns, plan.served, strict=True):
        for column, row in zip(columns, rows, strict=True):
            for index, busy_s in column.busy:
                for t in range(periods):
                    found[index][t] += busy_s * row[t]
    return found


def check(problem: ServiceProblem, epoch: Epoch, plan: EpochPlan) -> None:
    """Recompute from the plan what must hold of it."""
    for n, work in zip(plan.instances, loads(problem, epoch, plan), strict=True):
        assert all(load <= n * epoch.period_s * (1 + 1e-6) + 1e-6 for load in work)
    for index, pool in enumerate(problem.pools):
        here = [(e, n) for e, n in zip(problem.engines, plan.instances, strict=True)]
        assert sum(e.gpus * n for e, n in here if e.pool == index) <= pool.gpus
    for k, kind in enumerate(problem.classes):
        for column, row in zip(plan.columns[k], plan.served[k], strict=True):
            if sum(row) > 0:
                assert kind.accuracy is None or column.accuracy >= kind.accuracy * (1 - 1e-9)
                assert kind.latency_s is None or column.latency_s <= kind.latency_s * (1 + 1e-9)
    assert plan.bound <= plan.value * (1 + 1e-9)


def test_classes_share_what_both_can_use() -> None:
    problem = ServiceProblem((one("a", 1.0), one("b", 1.0)), (engine("e"),), POOL)
    apart = (30.0, 90.0), (90.0, 30.0)
    together = Planner(problem).plan(Epoch(apart, 60.0))
    assert together.instances == (2,)  # the sum never exceeds 120 seconds a minute
    alone = [
        Planner(replace(problem, classes=(kind,))).plan(Epoch((requests,), 60.0))
        for kind, requests in zip(problem.classes, apart, strict=True)
    ]
    assert sum(plan.instances[0] for plan in alone) == 4


def test_what_may_wait_fills_the_troughs() -> None:
    requests = ((100.0, 20.0, 100.0, 20.0),)
    prompt = ServiceProblem((one("a", 1.0),), (engine("e"),), POOL)
    patient = ServiceProblem((one("a", 1.0, wait_s=60.0),), (engine("e"),), POOL)
    assert Planner(prompt).plan(Epoch(requests, 60.0)).instances == (2,)
    plan = Planner(patient).plan(Epoch(requests, 60.0))
    assert plan.instances == (1,)
    (served,) = plan.served[0]
    begun = list(itertools.accumulate(served))
    came = list(itertools.accumulate(requests[0]))
    assert all(b <= c + 1e-6 for b, c in zip(begun, came, strict=True))
    late = 0.05 * came[-1]
    assert all(b >= c - late - 1e-6 for b, c in zip(begun[1:], came, strict=False))
    assert math.isclose(begun[-1], came[-1])


@pytest.mark.parametrize("wait_s", [60.0, 100.0, 120.0, 300.0])
def test_requests_wait_no_longer_than_they_may(wait_s: float) -> None:
    chance = Random(int(wait_s))
    requests = tuple(chance.uniform(10, 200) for _ in range(20))
    kind = replace(one("a", 1.0, wait_s=wait_s), late=0.0)
    plan = Planner(ServiceProblem((kind,), (engine("e"),), POOL)).plan(Epoch((requests,), 60.0))
    begun = [0.0, *itertools.accumulate(plan.served[0][0])]
    came = [0.0, *itertools.accumulate(requests)]

    def at(line: list[float], time_s: float) -> float:
        i = min(int(time_s // 60), len(line) - 2)
        return line[i] + (line[i + 1] - line[i]) * (time_s / 60 - i)

    for second in range(0, 20 * 60 - int(wait_s), 5):
        assert at(begun, second + wait_s) >= at(came, second) - 1e-4


def test_what_waits_is_handed_to_the_next_epoch_and_nothing_is_lost() -> None:
    kind = replace(one("a", 1.0, wait_s=60.0), late=0.0)
    problem = ServiceProblem((kind,), (engine("e"),), POOL)
    epochs = (
        Epoch(((50.0, 50.0, 110.0),), 60.0),
        Epoch(((10.0, 60.0, 60.0),), 60.0),
    )
    first, second = plan_epochs(problem, epochs)
    assert first.instances == second.instances == (1,)
    assert first.backlog[0].waiting > 0
    assert math.isclose(sum(first.served[0][0]) + sum(second.served[0][0]), 340.0)
    assert second.backlog[0].waiting == 0.0


def test_a_backlog_knows_when_its_requests_came() -> None:
    backlog = Backlog(waiting=30.0, recent=(50.0, 20.0))
    # 30 wait: 20 of the last period, 10 of the one before
    assert backlog.came() == (0.0, 10.0, 30.0)


def test_starting_instances_has_a_price() -> None:
    problem = ServiceProblem((one("a", 1.0),), (engine("e", startup_s=30.0),), POOL)
    epochs = (Epoch(((60.0,),), 60.0), Epoch(((110.0,),), 60.0), Epoch(((60.0,),), 60.0))
    plans = plan_epochs(problem, epochs)
    assert [plan.instances for plan in plans] == [(1,), (2,), (1,)]
    assert [plan.usd for plan in plans] == [90.0, 150.0, 60.0]
    assert plans[1].energy_j == 10.0 * (2 * 60.0 + 30.0)


def test_more_than_there_is_is_told() -> None:
    problem = ServiceProblem((one("a", 1.0),), (engine("e"),), (Hardware("small", "A100", 1, 0),))
    with pytest.raises(NoRoom) as caught:
        Planner(problem).plan(Epoch(((100.0,),), 60.0))
    assert caught.value.reason == "the requests need more than there is (1 GPUs of `small`)"


def test_a_hosted_service_costs_what_it_is_asked_and_has_a_rate() -> None:
    hosted = Engine("api", -1, 0, 0, usd_per_s=0.0, idle_w=0.0, most=1)
    variants = (Variant("own", 0, 1.0, 1.0, 1.0), Variant("api", 1, 2.0, 1.0, 1.0, usd=0.1))
    kind = RequestClass("a", (Stage("s", variants),))
    problem = ServiceProblem((kind,), (engine("e"), hosted), POOL)
    few = Planner(problem).plan(Epoch(((20.0,),), 60.0))
    assert few.instances[0] == 0 and math.isclose(few.usd, 2.0)
    many = Planner(problem).plan(Epoch(((80.0,),), 60.0))  # 30 a minute is all that it takes
    assert many.instances[0] == 1 and math.isclose(many.usd, 60.0 + 2.0)


def random_service(chance: Random, stages: int, variants: int) -> tuple[ServiceProblem, Epoch]:
    engines = tuple(Engine(f"e{i}", 0, 1, 0, usd_per_s=1.0 + i, idle_w=5.0 + i) for i in range(3))
    classes = []
    for k in range(chance.randint(1, 3)):
        found = RequestClass(f"k{k}", stages_of(chance, stages, variants))
        best = max(column.accuracy for column in every(found))
        classes.append(replace(found, accuracy=best * chance.uniform(0.5, 1.0)))
    problem = ServiceProblem(tuple(classes), engines, POOL, chance.choice(["cost", "energy"]))
    requests = tuple((chance.uniform(5, 60),) for _ in classes)
    return problem, Epoch(requests, 60.0)


def brute_force(problem: ServiceProblem, epoch: Epoch) -> float:
    """Return the least that any plan takes with one configuration a class."""
    units = [e.usd_per_s if problem.objective == "cost" else e.idle_w for e in problem.engines]
    least = math.inf
    for columns in itertools.product(*(every(kind) for kind in problem.classes)):
        busy = [0.0] * len(problem.engines)
        direct = 0.0
        for column, (requests,) in zip(columns, epoch.requests, strict=True):
            direct += requests * (column.usd if problem.objective == "cost" else column.energy_j)
            for index, seconds in column.busy:
                busy[index] += requests * seconds
        held = (math.ceil(s / 60.0 - 1e-9) for s in busy)
        value = direct + sum(n * unit * 60.0 for n, unit in zip(held, units, strict=True))
        least = min(least, value)
    return least


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 2), st.integers(1, 3))
def test_no_choice_of_one_configuration_a_class_is_better(
    chance: Random, stages: int, variants: int
) -> None:
    problem, epoch = random_service(chance, stages, variants)
    plan = Planner(problem).plan(epoch)
    check(problem, epoch, plan)
    least = brute_force(problem, epoch)
    assert plan.value <= least * (1 + 1e-3)
    assert plan.bound <= least * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_generated_columns_find_what_listed_ones_do(chance: Random) -> None:
    problem, epoch = random_service(chance, 3, 4)
    listed = Planner(problem).plan(epoch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "LISTED", 0)
        generated = Planner(problem).plan(epoch)
    check(problem, epoch, generated)
    assert generated.bound <= listed.value * (1 + 1e-6)
    assert generated.value <= listed.value * (1 + planner.GENERATED_GAP + 1e-3)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_scarce_hardware_is_used_as_well_with_generated_columns(chance: Random) -> None:
    problem, epoch = random_service(chance, 3, 4)
    enough = sum(Planner(problem).plan(epoch).instances)
    scarce = replace(problem, pools=(replace(POOL[0], gpus=max(enough - 1, 1)),))
    plans: list[EpochPlan | None] = []
    for listed in (2_048, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(planner, "LISTED", listed)
            try:
                plans.append(Planner(scarce).plan(epoch))
            except NoRoom:
                plans.append(None)
    listed_one, generated = plans
    assert (listed_one is None) == (generated is None)
    if listed_one is not None and generated is not None:
        check(scarce, epoch, generated)
        assert generated.value <= listed_one.value * (1 + planner.GENERATED_GAP + 1e-3)
        assert generated.bound <= listed_one.value * (1 + 1e-6)


@pytest.mark.parametrize("listed", [2_048, 0])
def test_when_time_runs_out_there_is_a_plan_with_its_gap(
    monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    problem, epoch = random_service(Random(7), 2, 3)
    best = Planner(problem).plan(epoch)
    monkeypatch.setattr(model, "TIME_LIMIT_S", 0.0)
    monkeypatch.setattr(planner, "LISTED", listed)
    found = Planner(problem).plan(epoch)
    check(problem, epoch, found)
    assert found.status == "rounded"
    assert found.bound <= best.value <= found.value


def test_equal_problems_have_equal_plans() -> None:
    plans = [Planner(p).plan(e) for p, e in (random_service(Random(5), 3, 4) for _ in range(2))]
    assert plans[0] == plans[1]


def test_a_column_adds_up_its_stages() -> None:
    stages = (
        Stage("a", (Variant("x", 0, 2.0, 3.0, 0.9, energy_j=5.0, usd=1.0),)),
        Stage("b", (Variant("y", 1, 4.0, 1.0, 0.5, energy_j=7.0),)),
        Stage("c", (Variant("z", 0, 1.0, 2.0, 0.8),), after=(0, 1)),
    )
    column = Column.of(RequestClass("k", stages, scale=0.5), (0, 0, 0))
    assert column.busy == ((0, 3.0), (1, 4.0))
    assert column.latency_s == 5.0
    assert math.isclose(column.accuracy, 0.5 * 0.9 * 0.5 * 0.8)
    assert (column.energy_j, column.usd) == (12.0, 1.0)
