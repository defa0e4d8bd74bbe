"""Plans of services as documents: what is written is read again, and what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.service_plan import (
    Estimates,
    Explained,
    FleetEpoch,
    InstanceType,
    Limiting,
    NextBest,
    PlannedRoute,
    RouteStep,
    ServedClass,
    ServicePlan,
    Unmet,
    is_service_plan,
)

STEPS = (
    RouteStep("ask", "big{k = 1}", 0, 8.0, 0.5, 1.5, 0.9, "measured", 0.1),
    RouteStep("find", "small", 1, 4.0, 0.25, None, 1.0, "analytic", 0.3),
    RouteStep("check", "left out", None, 0.0, 0.0, 0.0, 0.97, "", 0.0),
)
ROUTE = PlannedRoute(0, 1.0, "big, small", ((0, 0.5), (1, 0.25)), None, 0.87, 3.0, 0.01, STEPS)
PLAN = ServicePlan(
    study="s",
    policy="joint",
    objective="cost",
    period_s=60.0,
    instances=(
        InstanceType("big on a100 x2", 0, "A100", 2, 0.01, 100.0, 30.0),
        InstanceType("small on cpu", 0, None, 0, 0.001, 10.0, 0.0),
    ),
    classes=(ServedClass("w/c", 0.8, None, 60.0, 0.05, (10.0, 20.0, 0.0, 5.0), 0.3),),
    epochs=(
        FleetEpoch(0.0, 120.0, (2, 1), (ROUTE,), 2.4, 900.0, 2.4, 2.3),
        FleetEpoch(120.0, 120.0, (1, 1), (ROUTE,), 1.4, 500.0, 1.4, 1.4),
    ),
    unserved=(Unmet("w/d", "too fast", ("latency <= 1 s",), (("latency <= 1 s", 2.5),)),),
    explained=(
        Explained(0, 1, (NextBest("ask", "big", "small", 0.5),), (Limiting("accuracy", 0.25),)),
    ),
)


def test_what_is_written_is_read_again() -> None:
    text = PLAN.to_json()
    again = ServicePlan.from_json(text)
    assert again == PLAN
    assert again.to_json() == text
    assert is_service_plan(text) and not is_service_plan("{") and not is_service_plan("[]")


def test_estimates_are_counted_by_source() -> None:
    other = replace(STEPS[0], load=16.0, error_band=0.2)
    epoch = replace(PLAN.epochs[0], routes=(replace(ROUTE, steps=(other, *STEPS[1:])),))
    plan = replace(PLAN, epochs=(epoch, *PLAN.epochs))
    assert plan.estimates() == (Estimates("analytic", 1, 0.3), Estimates("measured", 2, 0.2))


def put(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("schema", value="murakkab/service-plan/9"), "'murakkab/service-plan/1' was expected"),
        (put("more", value=1), "'more' was unexpected"),
        (put("objective", value="speed"), "objective: 'speed' is not one of"),
        (put("period_s", value=0), "period_s: 0 is less than or equal to the minimum"),
        (put("epochs", 0, "instances", 0, value=-1), "epochs/0/instances/0: -1 is less than"),
        (put("epochs", 0, "instances", value=[1]), "epochs/0: `instances` has 1 counts, there are"),
        (put("epochs", 1, "start_s", value=60), "epochs/1: it begins at 60 s, the one before ends"),
        (put("epochs", 1, "duration_s", value=60), "its epochs end at 180 s, its requests do not"),
        (put("epochs", 0, "routes", 0, "kind", value=3), "routes/0: there is no class 3"),
        (put("epochs", 0, "routes", 0, "share", value=0.5), "shares of class 0 add up to 0.5"),
        (put("epochs", 0, "routes", 0, "busy", 0, value=[7, 0.5]), "there is no instance 7"),
        (put("epochs", 0, "routes", 0, "busy", 0, value=[0, 9]), "`busy` is not what its steps"),
        (put("epochs", 0, "routes", 0, "busy", 0, value=[0]), "epochs/0/routes/0/busy/0"),
        (put("classes", 0, "requests", 0, value="many"), "classes/0/requests/0: 'many' is not"),
        (put("explained", 0, "kind", value=4), "explained: there is no such class or epoch"),
    ],
)
def test_documents_that_cannot_be_are_refused(change: Callable[[Any], None], said: str) -> None:
    document = json.loads(PLAN.to_json())
    change(document)
    with pytest.raises(InputError) as caught:
        ServicePlan.from_json(json.dumps(document), "day.json")
    message = caught.value.diagnostics[0].message
    assert message.startswith("cannot use service plan `day.json`: ") and said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ('{"schema": 1, "schema": 2}', "stands twice"),
        (PLAN.to_json().replace("2.4", "NaN", 1), "not a finite number"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "is not of type 'object'"),
    ],
)
def test_texts_that_are_no_plan_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ServicePlan.from_json(text)
