"""The frontier of two metrics against that of every placement there is."""

from collections.abc import Sequence

import pytest

from murakkab.ir.workflow import MetricName
from murakkab.passes.job.audit import check
from murakkab.passes.job.frontier import Axis, frontier
from murakkab.passes.job.problem import Infeasible, Placement
from murakkab.passes.job.scale import TICKS

from .test_job_solver import every_placement, larger, small

BUDGET = 5.0
PAIRS: tuple[tuple[MetricName, MetricName], ...] = (
    ("latency", "energy"),
    ("cost", "latency"),
    ("accuracy", "energy"),
    ("gpus", "latency"),
    ("cost", "energy"),
)


def values(along: Sequence[Axis], placements: Sequence[Placement]) -> list[tuple[float, ...]]:
    return [tuple(axis.of(p.metrics) for axis in along) for p in placements]


def undominated(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the frontier of pairs; all amounts are whole numbers or far apart."""
    kept: list[tuple[float, ...]] = []
    for point in sorted({tuple(round(value, 6) for value in point) for point in points}):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return kept


# instances of the generator that leave room for trade: frontiers of up to four points
@pytest.mark.parametrize("seed", [17, 27, 38, 43, 61, 63, 96, 106])
def test_the_frontier_is_that_of_all_placements(seed: int) -> None:
    problem = small(seed, ("cost",))
    everything = list(every_placement(problem))
    lengths = []
    for one, other in PAIRS:
        along = (Axis(one), Axis(other))
        found = frontier(problem, along, most=100, budget=BUDGET)
        assert found.complete
        assert all(found.gap(point) == 0.0 for point in found.points)
        assert all(check(problem, point) == [] for point in found.points)
        expected = undominated(values(along, everything))
        rounding = (len(problem.steps) + 1) / TICKS
        assert values(along, found.points) == [pytest.approx(e, rel=rounding) for e in expected]
        lengths.append(len(expected))
    assert max(lengths) >= 3


def test_no_frontier_where_the_limits_cannot_be_met() -> None:
    problem = small(0, ("cost",))
    assert list(every_placement(problem)) == []
    with pytest.raises(Infeasible):
        frontier(problem, (Axis("latency"), Axis("cost")), most=5, budget=BUDGET)


@pytest.mark.parametrize("percentile", [0, 1])
def test_a_bound_on_the_points_spreads_them_over_the_same_frontier(percentile: int) -> None:
    problem = larger(1)
    along = (Axis("latency", percentile), Axis("cost"))
    whole = frontier(problem, along, most=50, budget=2.0)
    some = frontier(problem, along, most=3, budget=2.0)
    assert whole.complete and len(whole.points) > 3
    assert not some.complete and len(some.points) <= 3
    every = values(along, whole.points)
    assert [x for x, _ in every] == sorted(x for x, _ in every)
    assert [y for _, y in every] == sorted((y for _, y in every), reverse=True)
    near = [pytest.approx(each, rel=(len(problem.steps) + 1) / TICKS) for each in every]
    chosen = values(along, some.points)
    assert chosen[0] == near[0] and chosen[-1] == near[-1]
    assert all(point in near for point in chosen)


def test_two_points_are_the_ends() -> None:
    problem = larger(1)
    found = frontier(problem, (Axis("latency"), Axis("cost")), most=2, budget=2.0)
    assert len(found.points) == 2 and not found.complete


def test_equal_problems_have_equal_frontiers() -> None:
    problem, along = larger(0), (Axis("latency", 1), Axis("cost"))
    first, again = (frontier(problem, along, most=4, budget=1.0) for _ in range(2))
    assert repr(first) == repr(again)


@pytest.mark.parametrize(
    ("along", "most", "what"),
    [
        ((Axis("cost"), Axis("cost")), 5, "both axes are `cost`"),
        ((Axis("cost"), Axis("energy")), 1, "not 1"),
    ],
)
def test_axes_and_points_that_make_no_frontier(
    along: tuple[Axis, Axis], most: int, what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        frontier(small(17, ("cost",)), along, most=most, budget=BUDGET)
