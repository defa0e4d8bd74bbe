"""Pricing of configurations: the cheapest within the limits is found, and bounds are bounds."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.passes.service.columns import Columns, Price
from murakkab.passes.service.problem import Column, RequestClass, Stage, Unserved, Variant


def stages_of(chance: Random, count: int, variants: int) -> tuple[Stage, ...]:
    """Return a random graph of stages; better variants tend to be slower and dearer."""

    def variant(index: int) -> Variant:
        size = chance.uniform(1, 4)
        return Variant(
            label=f"v{index}",
            engine=index % 3,
            busy_s=size * chance.uniform(0.8, 1.2),
            latency_s=size * chance.uniform(0.5, 1.5),
            quality=min(1.0, 0.6 + 0.1 * size * chance.uniform(0.8, 1.2)),
            usd=chance.choice([0.0, 0.1]),
        )

    return tuple(
        Stage(
            f"s{s}",
            tuple(map(variant, range(variants))),
            tuple(sorted(chance.sample(range(s), chance.randint(0, min(s, 2))))),
        )
        for s in range(count)
    )


def every(kind: RequestClass) -> list[Column]:
    """Return all configurations that meet the limits, by enumeration."""
    choices = itertools.product(*(range(len(stage.variants)) for stage in kind.stages))
    found = [Column.of(kind, choice) for choice in choices]
    return [
        column
        for column in found
        if (kind.latency_s is None or column.latency_s <= kind.latency_s)
        and (kind.accuracy is None or column.accuracy >= kind.accuracy)
    ]


def price_of(column: Column, seconds: list[float]) -> float:
    return column.usd + sum(seconds[engine] * busy_s for engine, busy_s in column.busy)


def priced(seconds: list[float]) -> Price:
    return lambda variant: variant.usd + seconds[variant.engine or 0] * variant.busy_s


@settings(deadline=None)  # the first example imports numpy
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([None, 0.1, 0.4, 0.8]),
    st.sampled_from([None, 1.0, 1.5, 3.0]),
)
def test_the_cheapest_configuration_is_found_whatever_the_prices(
    chance: Random, count: int, variants: int, accurate: float | None, slow: float | None
) -> None:
    stages = stages_of(chance, count, variants)
    free = every(RequestClass("all", stages))
    best = max(column.accuracy for column in free)
    fastest = min(column.latency_s for column in free)
    kind = RequestClass(
        "k",
        stages,
        accuracy=None if accurate is None else best * accurate,
        latency_s=None if slow is None else fastest * slow,
    )
    wanted = every(kind)
    if not wanted:
        with pytest.raises(Unserved):
            Columns(kind)
        return
    columns = Columns(kind)
    for _ in range(3):  # what one question teaches must not mislead the next
        seconds = [chance.uniform(0, 2) for _ in range(3)]
        price = priced(seconds)
        found = columns.cheapest(price)
        least = min(price_of(column, seconds) for column in wanted)
        assert found.column is not None and found.column in wanted
        assert math.isclose(price_of(found.column, seconds), least, rel_tol=1e-6, abs_tol=1e-9)
        assert math.isclose(found.bound, least, rel_tol=1e-6, abs_tol=1e-9)
        none = columns.cheapest(price, least * (1 - 1e-6) - 1e-12)
        assert none.column is None and none.bound <= least + 1e-9
        for width in (0, 1, 40):  # however few labels there may be
            quick = columns.cheapest(price, width=width)
            assert quick.bound <= least + 1e-9
            assert quick.column in wanted


SLOW = Variant("slow", 0, 1.0, 2.0, 0.9)
FAST = Variant("fast", 0, 1.0, 0.5, 0.6)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"latency_s": 0.9}, "a latency of 0.9 s (the least is 1 s)"),
        ({"accuracy": 0.85}, "an accuracy of 0.85 (the best is 0.81)"),
        (
            {"latency_s": 3.0, "accuracy": 0.7},
            "a latency of 3 s (the least is 4 s) and an accuracy of 0.7 (the best is 0.54)",
        ),
    ],
)
def test_what_no_configuration_meets_is_told_with_what_is_nearest(
    limits: dict[str, float], said: str
) -> None:
    stages = (Stage("a", (SLOW, FAST)), Stage("b", (SLOW, FAST), after=(0,)))
    with pytest.raises(Unserved) as caught:
        Columns(RequestClass("video/fast", stages, **limits))  # type: ignore[arg-type]
    assert caught.value.kind == "video/fast"
    assert caught.value.reason == f"no configuration has {said}"
