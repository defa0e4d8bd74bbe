"""What the state machine and its driver say to each other: commands one way, events the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..targets.failure_policy import Cause
from .program import Step

# ---- commands


class Submit(NamedTuple):
    """Have a step done; `args` are in the order of `step.params`, `attempt` counts from 1.

    `given` are the items that earlier attempts at a list have handed over: the list begins so.
    An effect has a `key`, the same at every attempt, by which its receiver knows a repetition.
    `digest` is what the cache is to keep its result under, empty where it is not to. Where `step`
    is a substitute, `instead` says why, and `spent` attempts were made before it.
    """

    id: int
    instance: str
    step: Step
    args: tuple[Any, ...]
    attempt: int
    given: tuple[Any, ...] = ()
    key: str = ""
    digest: str = ""
    instead: str = ""
    spent: int = 0


class Retry(NamedTuple):
    """Wait before the next attempt at a step, at least `after_s`, then apply `Due`."""

    id: int
    submit: Submit
    error: str
    after_s: float = 0.0


class Cancel(NamedTuple):
    """Give up a submitted step, at work or waiting: its branch was not chosen, or has failed.

    Apply how it ended, or `Dropped`.
    """

    id: int
    step: Step


class Retired(NamedTuple):
    """No call of these steps will come any more; calls of theirs may still be at work."""

    steps: tuple[Step, ...]


class HandOn(NamedTuple):
    """Take the next items of the result; apply `NotTaken` where they cannot be."""

    items: Sequence[Any]


class Failure(NamedTuple):
    """What ended a run: a step instance (or a place in the source), and the reason.

    `gone` where that is an engine that stays away, so that other items would fail as well.
    """

    instance: str
    step: Step | None
    message: str
    attempts: int
    help: str | None = None
    gone: bool = False


class Finish(NamedTuple):
    """The run is over; this is its result.

    `lost` are the first failures of items that it went on without, `lost_items` how many there are.
    """

    value: Any
    lost: tuple[Failure, ...] = ()
    lost_items: int = 0


class Fail(NamedTuple):
    """The run is over and nothing is in flight: steps failed, or the user wanted it to end.

    An interrupted run may have failures too, of calls that were still at work. One that was
    `stopped`, for this reason, would have used up more than it may.
    """

    failures: tuple[Failure, ...]
    interrupted: bool = False
    stopped: str | None = None


Command = Submit | Retry | Cancel | Retired | HandOn | Finish | Fail


# ---- events


class Partial(NamedTuple):
    """A submitted step whose result `streams` has the next items of it, of the items' type."""

    id: int
    items: Sequence[Any]


class Completed(NamedTuple):
    """A submitted step has a result, of the step's type; a list begins as its partial results."""

    id: int
    value: Any


class Failed(NamedTuple):
    """An attempt at a submitted step went wrong; `retryable` where a repetition may help.

    `help` says what to do about it; `after_s` is how long a server asked to be left alone. `cause`
    is the class that the plan's policy knows it by. `gone` where its engine has failed whatever it
    was asked for so long that it is no fault of this call.
    """

    id: int
    error: str
    retryable: bool
    help: str | None = None
    after_s: float = 0.0
    cause: Cause = "raised"
    gone: bool = False


class Away(NamedTuple):
    """A submitted step that has a substitute was not begun: its engine stays away."""

    id: int
    reason: str


class Due(NamedTuple):
    """The wait that a `Retry` asked for is over."""

    id: int


class Dropped(NamedTuple):
    """A submitted step was not begun, or was stopped: the run is ending, or it was cancelled."""

    id: int
    reason: str = ""


class Interrupted(NamedTuple):
    """The user wants no more steps to begin."""


class Stopped(NamedTuple):
    """The run must use up no more: no more steps may begin."""

    reason: str


class NotTaken(NamedTuple):
    """Items of the result could not be taken: `place` is where they were to go."""

    place: str
    error: str
    help: str


Event = Partial | Completed | Failed | Away | Due | Dropped | Interrupted | Stopped | NotTaken
