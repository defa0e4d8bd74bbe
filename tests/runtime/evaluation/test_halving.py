"""Successive halving: its rungs, who goes on, and what is known of a mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.runtime.evaluation.halving import (
    LEAST_ITEMS,
    first_rung,
    interval,
    next_rung,
    percentile,
    shuffled,
    survivors,
)


def rungs(items: int, configurations: int, eta: int) -> list[tuple[int, int]]:
    """Return (configurations, items) of every rung."""
    size, found = first_rung(items, configurations, eta), []
    while True:
        found.append((configurations, size))
        if size == items:
            return found
        configurations = len(survivors([0.0] * configurations, eta))
        size = next_rung(size, items, configurations, eta)


@pytest.mark.parametrize(
    ("items", "configurations", "eta", "wanted"),
    [
        (200, 16, 2, [(16, 13), (8, 26), (4, 52), (2, 104), (1, 200)]),
        (900, 9, 3, [(9, 100), (3, 300), (1, 900)]),
        (200, 1, 2, [(1, 200)]),
        (5, 64, 2, [(64, 5)]),
        (20, 64, 2, [(64, 8), (32, 16), (16, 20)]),
    ],
)
def test_rungs(items: int, configurations: int, eta: int, wanted: list[tuple[int, int]]) -> None:
    assert rungs(items, configurations, eta) == wanted


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(2, 5))
def test_rungs_end_on_all_items_and_no_rung_costs_much_more_than_another(
    items: int, configurations: int, eta: int
) -> None:
    found = rungs(items, configurations, eta)
    assert found[-1][1] == items
    assert all(size >= min(items, LEAST_ITEMS) for _, size in found)
    sizes = [size for _, size in found]
    assert sizes == sorted(set(sizes))


def test_the_best_go_on_and_of_equals_the_first() -> None:
    assert survivors([0.1, 0.9, 0.5, 0.9, 0.0], 2) == [1, 3, 2]
    assert survivors([0.5], 2) == [0]
    assert survivors([0.5, 0.5, 0.5], 3) == [0]


def test_the_order_of_items_depends_on_the_seed_alone() -> None:
    assert shuffled(50, 1) == shuffled(50, 1) != shuffled(50, 2)
    assert sorted(shuffled(50, 1)) == list(range(50))


def test_intervals() -> None:
    """Wilson's, from Newcombe 1998 (Statistics in Medicine 17), table I, method 3."""
    assert interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert interval(0 / 20, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert interval(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile([4, 1, 3, 2], 50) == 2
    assert percentile([4, 1, 3, 2], 90) == 4
    assert percentile([7], 50) == 7
