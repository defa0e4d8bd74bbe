"""What happens to model servers during a run, and what must come of the run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from stage import MODEL, TIMEOUT_S, Fault, Stage

# whether a run finds its servers kept, is attached to one, or starts its own
Servers = Literal["kept", "attached", "own"]
Act = Callable[[Stage, random.Random], Callable[[], None]]  # returns what ends the fault


@dataclass(frozen=True)
class Trouble:
    """A fault: what happens, on which servers, and what must come of the run.

    ends: what the reason of a run that fails must hold; empty: it completes. weight: runs of each
    hundred.
    """

    name: str
    servers: Servers
    weight: int
    within_s: float
    faults: tuple[Fault, ...] = ()
    share: float = 0.3
    most: int | None = 2
    act: Act | None = None
    ends: str = ""

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.name} ({self.servers})"


_NOTICED_WITHIN_S = 10.0


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _kill_one(stage: Stage, chance: random.Random) -> Callable[[], None]:
    server = chance.choice(stage.servers())
    _signal([chance.choice(server)], signal.SIGKILL)

    def over() -> None:
        # Its other processes end when they notice, and until then it seems sound. Where it was the
        # keeper, nobody notices before `up` does.
        until_s = time.monotonic() + _NOTICED_WITHIN_S
        left = set(server)
        while left & {p for each in stage.servers() for p in each} and time.monotonic() < until_s:
            time.sleep(0.1)
        stage.up()

    return over


def _stop_a_while(stage: Stage, chance: random.Random) -> Callable[[], None]:
    stopped = chance.choice(stage.servers())[1:]
    _signal(stopped, signal.SIGSTOP)
    time.sleep(chance.uniform(1.0, 8.0))
    _signal(stopped, signal.SIGCONT)
    return lambda: None


def _stop(stage: Stage, chance: random.Random) -> Callable[[], None]:
    stopped = chance.choice(stage.servers())[1:]
    _signal(stopped, signal.SIGSTOP)
    return lambda: _signal(stopped, signal.SIGCONT)


def _stop_all(stage: Stage, chance: random.Random) -> Callable[[], None]:
    stopped = [process for server in stage.servers() for process in server[1:]]
    _signal(stopped, signal.SIGSTOP)
    return lambda: _signal(stopped, signal.SIGCONT)


def _kill_all(stage: Stage, chance: random.Random) -> Callable[[], None]:
    _signal([process for server in stage.servers() for process in server], signal.SIGKILL)
    return stage.up


def _kill_all_for_good(stage: Stage, chance: random.Random) -> Callable[[], None]:
    model, away = stage.folder / MODEL, stage.folder / "away"
    model.rename(away)
    _kill_all(stage, chance)

    def back() -> None:
        away.rename(model)
        stage.up()

    return back


_NO_ANSWER = f"no answer within {TIMEOUT_S:g} s"
_BROKEN = r"cannot be reached|connection to .* broke|was cut off|answered 500"
_ALL = (
    *(Fault("status", number) for number in (429, 500, 503)),
    *(Fault(kind) for kind in ("cut", "reset", "malformed", "html", "garbage")),
    Fault("slow", delay_s=1.0),
)
TROUBLES = (
    Trouble("500", "kept", 6, 60.0, (Fault("status", 500),)),
    Trouble("429, Retry-After", "kept", 6, 60.0, (Fault("status", 429, retry_after_s=1.0),)),
    Trouble("no JSON", "kept", 5, 60.0, (Fault("malformed"), Fault("html"))),
    Trouble("no HTTP", "kept", 5, 60.0, (Fault("garbage"),)),
    Trouble("half answers", "kept", 5, 60.0, (Fault("cut"),)),
    Trouble("connections reset", "kept", 5, 60.0, (Fault("reset"),)),
    Trouble("slow answers", "kept", 5, 90.0, (Fault("slow", delay_s=3.0),)),
    Trouble("no answer", "kept", 4, 150.0, (Fault("silent"),), share=0.1, most=1),
    Trouble(
        "all of these",
        "attached",
        8,
        120.0,
        _ALL,
    ),
    Trouble("stopped for a while", "kept", 8, 90.0, act=_stop_a_while),
    Trouble("stopped for a while", "attached", 5, 90.0, act=_stop_a_while),
    Trouble("one stopped for good", "kept", 4, 240.0, act=_stop),
    Trouble("one process killed", "kept", 8, 240.0, act=_kill_one),
    Trouble("one process killed", "own", 6, 400.0, act=_kill_one),
    Trouble("killed", "attached", 6, 120.0, act=_kill_all, ends=_BROKEN),
    Trouble(
        "stopped for good",
        "attached",
        5,
        240.0,
        act=_stop_all,
        ends=_NO_ANSWER,
    ),
    Trouble(
        "500 for good",
        "attached",
        5,
        120.0,
        (Fault("status", 500),),
        1.0,
        None,
        ends="answered 500",
    ),
    Trouble(
        "both gone for good",
        "kept",
        4,
        400.0,
        act=_kill_all_for_good,
        ends=r"server ended|answered",
    ),
)
