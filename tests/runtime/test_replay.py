"""Replays of service plans: who begins when, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

from murakkab.runtime.replay import replay
from murakkab.targets.service_plan import (
    FleetEpoch,
    InstanceType,
    PlannedRoute,
    ServedClass,
    ServicePlan,
)


def instance(group: int = 0) -> InstanceType:
    return InstanceType("e", group, "A100", 1, 1.0, 10.0, 0.0)


def served(name: str, *requests: float, wait_s: float = 0.0) -> ServedClass:
    return ServedClass(name, None, None, wait_s, 0.05, requests)


def route(kind: int, engine: int = 0, share: float = 1.0, latency_s: float = 1.0) -> PlannedRoute:
    return PlannedRoute(kind, share, "c", ((engine, 1.0),), latency_s, 0.5, 0.0, 0.0)


def plan(
    classes: tuple[ServedClass, ...], n: tuple[int, ...], routes: tuple[PlannedRoute, ...]
) -> ServicePlan:
    duration_s = 60.0 * len(classes[0].requests)
    epoch = FleetEpoch(0.0, duration_s, n, routes, 0.0, 0.0, 0.0, 0.0)
    types = tuple(instance() for _ in n)
    return ServicePlan("s", "joint", "cost", 60.0, types, classes, (epoch,), ())


def test_with_enough_instances_nobody_waits() -> None:
    (found,) = replay(plan((served("a", 60.0, 120.0),), (2,), (route(0),)))
    assert (found.requests, found.wait_p95_s, found.meets) == (180.0, 0.0, True)
    assert math.isclose(found.in_time, 1.0)


def test_what_may_not_wait_misses_when_there_are_too_few() -> None:
    (found,) = replay(plan((served("a", 60.0, 120.0),), (1,), (route(0),)))
    assert not found.meets
    # half of the second minute's requests find no room; it takes one more minute to work them off
    assert 50.0 <= found.wait_p95_s <= 60.0


def test_what_may_wait_gives_way() -> None:
    classes = (served("a", 60.0, 0.0), served("b", 30.0, 0.0, wait_s=60.0))
    first, second = replay(plan(classes, (1,), (route(0), route(1))))
    assert first.wait_p95_s == 0.0 and first.meets
    assert 30.0 <= second.wait_p95_s <= 60.0 and second.meets


def test_those_whose_time_has_run_out_go_last() -> None:
    classes = (served("a", 130.0, 60.0, 0.0, 0.0, wait_s=60.0),)
    (found,) = replay(plan(classes, (1,), (route(0),)))
    # ten of 190 cannot be in time; were they not put last, nobody after them would be
    assert math.isclose(found.in_time, 180 / 190, rel_tol=0.03)


def test_requests_go_where_there_is_room() -> None:
    routes = (route(0, 0, share=0.9), route(0, 1, share=0.1))
    (found,) = replay(plan((served("a", 120.0),), (1, 1), routes))
    assert found.wait_p95_s == 0.0


def test_a_route_that_misses_a_limit_does_not_count() -> None:
    slow = replace(served("a", 60.0), latency_s=0.5)
    routes = (route(0, share=0.75, latency_s=0.4), route(0, share=0.25, latency_s=0.6))
    (found,) = replay(plan((slow,), (1,), routes))
    assert math.isclose(found.in_time, 0.75) and not found.meets


def test_what_is_never_served_waits_for_ever() -> None:
    (found,) = replay(plan((served("a", 60.0, wait_s=60.0),), (0,), (route(0),)))
    assert found.wait_p95_s == math.inf and found.in_time == 0.0
