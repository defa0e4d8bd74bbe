"""What goes wrong in a run: a call (to be judged by the state machine), and the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from ..targets.failure_policy import Cause
    from .worker import Usage


Ending = Literal["failed", "interrupted", "stopped"]


class CallFailed(Exception):
    """A call that went wrong, told in its message; `retryable` where a repetition may help.

    `help` says what to do about it. `after_s` are the seconds a server asked to be left alone.
    `usage` is what the call consumed all the same. `kind` is a word for the class of what went
    wrong, for telemetry, which never gets the message: `429`, `connection`, `malformed`.
    `untouched` tells that the call certainly changed nothing in the world.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        help: str | None = None,
        after_s: float = 0.0,
        usage: Usage | None = None,
        kind: str = "_OTHER",
        untouched: bool = False,
    ) -> None:
        """Keep the message and what is known beside it."""
        super().__init__(message)
        # what records are written in has no form for a half of a character
        self.message = message.encode("utf-8", "replace").decode()
        self.retryable = retryable
        self.help = help
        self.after_s = after_s
        self.usage = usage
        self.kind = kind
        self.untouched = untouched

    @property
    def cause(self) -> Cause:
        """The class that a plan's policy knows it by."""
        if self.kind in ("connection", "cut"):
            return "connection"
        if self.kind in ("timeout", "malformed"):
            return cast("Cause", self.kind)
        return "status" if self.kind.isdecimal() else "raised"


@dataclass(frozen=True, slots=True)
class StepFailure:
    """One failed step instance, or with `step` None a place in the source, and the reason.

    `help` says what to do about it, where that is known.
    """

    instance: str
    step: str | None
    executor: str | None
    engine: str | None
    reason: str
    attempts: int
    help: str | None = None

    def __str__(self) -> str:
        """Return the failure as one sentence."""
        if self.step is None:
            return f"{self.instance}: {self.reason}"
        with_what = f" with executor `{self.executor}`" if self.executor else ""
        tried = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"step `{self.instance}` failed{with_what}{tried}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Return the form that records and JSON reports hold."""
        return {
            "instance": self.instance,
            "step": self.step,
            "executor": self.executor,
            "engine": self.engine,
            "reason": self.reason,
            "attempts": self.attempts,
            "help": self.help,
        }


class RunError(Exception):
    """A run that ended without a result: its failures, and where its record is, if it has one.

    Without failures the message stands for itself: an input is missing, say. `state` tells how it
    ended: it `failed`, was `interrupted` by the user, or `stopped` before it used up more than it
    may; calls that failed while it wound down are among the failures. `journal` is what the run can
    be taken up from, `in_doubt` the effects of which it must first be told what became of them.
    `calls` are how many are done, and how many the plan expected.
    """

    def __init__(
        self,
        message: str,
        failures: tuple[StepFailure, ...] = (),
        record: Path | None = None,
        *,
        state: Ending = "failed",
    ) -> None:
        """Keep the parts for reports; the text is the message and where to look."""
        self.message = message
        self.failures = failures
        self.record = record
        self.state = state
        self.journal: Path | None = None
        self.in_doubt: tuple[str, ...] = ()
        self.calls = (0, 0)
        kept = f"; what completed is in `{record}`" if record is not None else ""
        super().__init__(message + kept)

    @property
    def interrupted(self) -> bool:
        """Whether the user ended the run."""
        return self.state == "interrupted"
