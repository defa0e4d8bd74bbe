"""Failure policies: what may be stated, and what is told where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.failure_policy import USUAL, FailurePolicy, failure_policy


def test_nothing_stated_is_the_usual_policy() -> None:
    assert failure_policy({}) == USUAL


def test_what_is_stated_replaces_what_is_usual() -> None:
    stated = {"attempts": 5, "hedge_after": None, "retry": ["timeout"], "wait_s": 2}
    policy = failure_policy(stated)
    assert policy == FailurePolicy(attempts=5, hedge_after=None, retry=("timeout",), wait_s=2.0)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"attemps": 5}, "a failure policy has no `attemps`"),
        ({"attempts": 0}, "attempts: 0 is less than the minimum of 1"),
        ({"attempts": 2.5}, "attempts: 2.5 is not of type 'integer'"),
        ({"attempts": "many"}, "attempts: 'many' is not of type 'integer'"),
        ({"retry": "timeout"}, "retry: 'timeout' is not of type 'array'"),
        ({"retry": ["timeouts"]}, "retry/0: 'timeouts' is not one of"),
        ({"hedge_after": 2.0}, "hedge_after: 2.0 is"),
        ({"wait_s": float("nan")}, "that is no failure policy"),
        ({"wait_s": float("inf")}, "that is no failure policy"),
        ({"wait_s": object()}, "that is no failure policy"),
    ],
)
def test_what_cannot_be_is_refused(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        failure_policy(stated)
    (found,) = caught.value.diagnostics
    assert told in found.message
    if "attemps" in stated:
        assert found.help == "did you mean `attempts`?"
