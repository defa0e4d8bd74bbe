"""Classes that are not served: what contradicts what, and values that would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.problem import FleetProblem, fleet_problem
from murakkab.passes.fleet.readout import service_plan
from murakkab.passes.service.problem import Column
from murakkab.targets.service_plan import ServicePlan, Unmet
from murakkab.targets.study import Policy, Study, load_study

DATA = Path(__file__).parents[2] / "benchmarks" / "osdi26" / "data"


@pytest.fixture(scope="module")
def study() -> Study:
    """Return two hours of the published study, on A100s."""
    found = load_study(DATA / "study.toml")
    workflows = tuple(
        replace(w, arrivals=replace(w.arrivals, requests=w.arrivals.requests[:120]))
        for w in found.workflows
    )
    return replace(
        found,
        workflows=workflows,
        cluster=replace(found.cluster, pools=found.cluster.pools[:1]),
    )


def limited(fleet: FleetProblem, name: str, **limits: float) -> FleetProblem:
    classes = tuple(
        replace(kind, **limits) if kind.name == name else kind  # type: ignore[arg-type]
        for kind in fleet.problem.classes
    )
    return replace(fleet, problem=replace(fleet.problem, classes=classes))


def planned(study: Study, fleet: FleetProblem, policy: Policy = "joint") -> ServicePlan:
    return service_plan(study, fleet, plan_day(study, fleet, policy))


def space(fleet: FleetProblem, name: str) -> list[Column]:
    kind = next(kind for kind in fleet.problem.classes if kind.name == name)
    (stage,) = kind.stages
    return [Column.of(kind, (number,)) for number in range(len(stage.variants))]


def only(plan: ServicePlan) -> Unmet:
    (lost,) = plan.unserved
    return lost


NAME = "video_qa/fast"


def test_one_limit_out_of_reach_is_blamed_alone(study: Study) -> None:
    fleet = fleet_problem(study)
    columns = space(fleet, NAME)
    lost = only(planned(study, limited(fleet, NAME, latency_s=0.01, accuracy=0.1)))
    ((what, nearest),) = lost.nearest
    assert (lost.name, lost.conflict, what) == (NAME, ("latency <= 0.01 s",), "latency <= 0.01 s")
    assert nearest == pytest.approx(min(c.latency_s for c in columns), rel=1e-3)
    lost = only(planned(study, limited(fleet, NAME, latency_s=1e3, accuracy=0.99)))
    ((what, nearest),) = lost.nearest
    assert what == "accuracy >= 0.99"
    assert nearest == pytest.approx(max(c.accuracy for c in columns), rel=1e-3)


def test_two_limits_that_conflict_have_a_nearest_value_each_that_can_be_had(study: Study) -> None:
    fleet = fleet_problem(study)
    columns = space(fleet, NAME)
    best = max(c.accuracy for c in columns)
    fast = min(c.latency_s for c in columns if c.accuracy < best) * 1.01
    assert not any(c.accuracy >= best and c.latency_s <= fast for c in columns)
    lost = only(planned(study, limited(fleet, NAME, latency_s=fast, accuracy=best)))
    assert len(lost.conflict) == 2
    latency_s, accuracy = (value for _, value in lost.nearest)
    least_s = min(c.latency_s for c in columns if c.accuracy >= best)
    most = max(c.accuracy for c in columns if c.latency_s <= fast)
    assert least_s <= latency_s <= least_s * 1.001
    assert most * 0.999 <= accuracy <= most
    for changed in ({"latency_s": latency_s}, {"accuracy": accuracy}):
        again = limited(fleet, NAME, **{"latency_s": fast, "accuracy": best, **changed})
        assert planned(study, again).unserved == ()


@pytest.mark.parametrize("policy", ["joint", "separate"])
def test_hardware_that_is_not_enough_says_how_much_would_be(study: Study, policy: Policy) -> None:
    pool = study.cluster.pools[0]

    def with_nodes(nodes: int) -> Study:
        cluster = replace(study.cluster, pools=(replace(pool, nodes=nodes),))
        return replace(study, cluster=cluster)

    small = with_nodes(2)
    lost = planned(small, fleet_problem(small), policy).unserved
    assert len(lost) == (4 if policy == "joint" else len(lost)) > 0
    ((what, gpus),) = lost[0].nearest
    assert what == lost[0].conflict[-1] == "16 GPUs"
    enough = with_nodes(-(-int(gpus) // pool.gpus))
    served = planned(enough, fleet_problem(enough), policy)
    assert lost[0].name not in {each.name for each in served.unserved}


def test_no_gpus_at_all(study: Study) -> None:
    pool = replace(study.cluster.pools[0], nodes=0)
    none = replace(study, cluster=replace(study.cluster, pools=(pool,)))
    lost = planned(none, fleet_problem(none)).unserved
    assert len(lost) == 4
    assert lost[0].conflict[-1] == "no GPUs" and lost[0].nearest[0][1] > 0
