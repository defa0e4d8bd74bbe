"""What a run does about calls that fail: part of its plan, so that a plan tells it beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .conformance import load_schema, violation
from .json_document import built

# Why a call failed, where another attempt may help: the connection was refused or broke; no answer
# came in time; the server said that it cannot now (408, 425, 429, 5xx); the answer was none of the
# wanted form; an executor's function raised what it marks so.
Cause = Literal["connection", "timeout", "status", "malformed", "raised"]


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """How often a run tries again, how long it waits, and when it leaves an engine alone.

    A call fails for good after `attempts` in all, or at once for causes not in `retry`. Before an
    attempt it waits `wait_s`, doubled each time up to `longest_wait_s`, and shortened by up to half
    at random. Repetitions of all kinds, hedges and questions about malformed answers among them,
    are at most `retry_share` of the run's calls so far, or `retry_floor` if that is more, so that
    trying again cannot multiply what ails an engine (as Envoy's retry budgets do). Of calls that
    were lost with their connection as many more as may be at work are repeated while the floor is
    what counts: they are no load to an engine that is gone.

    After `breaker_failures` failures in a row, or as many as an engine has at work if those are
    more, nothing begins on it for `pause_s`, doubled up to `longest_pause_s` while it goes on
    failing. A server that ends is started again `restarts` times. Where a replica is idle, a call
    that takes longer than the share `hedge_after` of its step's calls is asked of it as well; None:
    never.
    """

    retry: tuple[Cause, ...] = ("connection", "timeout", "status", "malformed", "raised")
    attempts: int = 3
    wait_s: float = 0.5
    longest_wait_s: float = 30.0
    retry_share: float = 0.1
    retry_floor: int = 64
    breaker_failures: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 30.0
    restarts: int = 3
    hedge_after: float | None = 0.95


USUAL = FailurePolicy()


def failure_policy(stated: Mapping[str, Any]) -> FailurePolicy:
    """Return the usual policy with some of its fields changed; raises InputError where it cannot.

    Values are as in a plan's `failure`: JSON's.
    """
    known = [f.name for f in fields(FailurePolicy)]
    for name in stated:
        if name not in known:
            message = f"a failure policy has no `{name[:60]}`"
            help = did_you_mean(name, known) or f"it has {', '.join(f'`{k}`' for k in known)}"
            raise InputError(Diagnostic("usage", message, help=help))
    try:
        document = json.loads(json.dumps(asdict(USUAL) | dict(stated), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(Diagnostic("usage", f"that is no failure policy: {error}")) from None
    wrong = violation(document, load_schema("plan")["properties"]["failure"])
    if wrong is not None:
        raise InputError(Diagnostic("usage", f"that is no failure policy: {wrong}"))
    policy: FailurePolicy = built(FailurePolicy, document)
    return policy
