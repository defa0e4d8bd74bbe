"""How long to wait before a call is tried again."""

from __future__ import annotations

import random

from ..targets.failure_policy import USUAL, FailurePolicy
from .messages import Retry


def pause_before(retry: Retry, policy: FailurePolicy) -> float:
    """Return the seconds before an attempt of a run, which a server may have asked to be longer."""
    return max(wait_s(retry.submit.attempt - retry.submit.spent, policy), retry.after_s)


def wait_s(attempt: int, policy: FailurePolicy = USUAL) -> float:
    """Return the seconds before an attempt, which is the second at least.

    Waits before attempts 2, 3, … double, from the policy's shortest to its longest. They are
    shortened by up to half at random, so that steps that failed together do not return together.
    """
    longest_s = min(policy.wait_s * 2.0 ** (attempt - 2), policy.longest_wait_s)
    return longest_s * random.uniform(0.5, 1.0)
