"""How long to wait before a call is tried again."""

from __future__ import annotations

import random

# Waits before attempts 2, 3, … double from the first to the last of these, in seconds.
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


def wait_s(attempt: int) -> float:
    """Return the seconds before an attempt, which is the second at least.

    They are shortened by up to half at random, so that steps that failed together do not return
    together.
    """
    longest_s = min(_FIRST_WAIT_S * 2.0 ** (attempt - 2), _LONGEST_WAIT_S)
    return longest_s * random.uniform(0.5, 1.0)
