"""Servers that are kept: brought up once, used by runs, put back as they were found, ended."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.serving import command
from murakkab.runtime.serving.fleet import Serving
from murakkab.runtime.serving.upkeep import BroughtUp, bring_up
from murakkab.runtime.serving.warm import end, warm_servers
from murakkab.targets.library import Executor, Library, Quality
from murakkab.targets.plan import Place, Plan

from ..conftest import MakePlan
from .processes import runs, until, until_soon

_STANDIN = str(Path(__file__).with_name("standin.py"))
TEXT = """module placed
task @first(%x: Text) -> Text
engine @a
workflow @w(%x: Text) -> Text
{
  %y = invoke @first(%x) {engine = @a, executor = @first} : Text
  return(%y)
}
"""


@pytest.fixture(autouse=True)
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have the stand-in started instead of vLLM; end what a test leaves."""
    path = tmp_path / "starts"
    program = (sys.executable, "-S", _STANDIN, "--starts", str(path))
    monkeypatch.setattr(command, "_program", lambda model: program)
    yield path
    end(tmp_path / "warm", warm_servers(tmp_path / "warm"))


def library(**settings: Any) -> Library:
    quality = Quality(1.0, "relative", "test")
    first = Executor(
        *("first", "first", "", "vllm", ("cpu",), quality),
        model="org/tiny",
        prompt="{x}",
        digest="first",
        settings=tuple(settings.items()),
    )
    return Library((first,), "library")


def planned(make_plan: MakePlan, **fields: Any) -> Plan:
    plan = make_plan(TEXT, runner="vllm")
    given = {"places": (Place("here", 0, ()),), **fields}
    return replace(plan, engines=tuple(replace(e, **given) for e in plan.engines))


def up(plan: Plan, found: Library, folder: Path) -> BroughtUp:
    return asyncio.run(bring_up(plan, found, serving(folder, lasting=True)))


def serving(folder: Path, *, lasting: bool = False) -> Serving:
    return Serving(
        environ=dict(os.environ), logs=folder / "logs", warm=folder / "warm", lasting=lasting
    )


def run(plan: Plan, found: Library, folder: Path) -> RunResult:
    return asyncio.run(run_plan(plan, {"x": "pid"}, library=found, serving=serving(folder)))


def test_a_kept_server_is_used_by_runs_and_left_until_it_is_ended(
    make_plan: MakePlan, tmp_path: Path, starts: Path
) -> None:
    plan = planned(make_plan)
    (server,) = up(plan, library(), tmp_path).servers
    assert server.alive and (server.engine, server.model) == ("a", "first")
    assert up(plan, library(), tmp_path).servers == (server,)  # it is there already
    for _ in range(2):
        done = run(plan, library(), tmp_path)
        (report,) = done.record.document["engines"][0]["servers"]
        assert (report["origin"], report["start_s"]) == ("warm", None)
        assert server.alive
    (line,) = starts.read_text().splitlines()
    assert done.value == line.split()[0]
    end(tmp_path / "warm", [server])
    assert not runs(int(line.split()[0])) and warm_servers(tmp_path / "warm") == []


def test_servers_of_other_flags_are_not_taken(
    make_plan: MakePlan, tmp_path: Path, starts: Path
) -> None:
    plan = planned(make_plan)
    up(plan, library(), tmp_path)
    done = run(plan, library(server_args="--seed 1"), tmp_path)
    assert done.record.document["engines"][0]["servers"][0]["origin"] == "own"
    assert len(starts.read_text().splitlines()) == 2


def test_a_server_that_was_found_asleep_is_put_to_sleep_again(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    found = library(server_args="--enable-sleep-mode")
    plan = planned(make_plan)
    (server,) = up(plan, found, tmp_path).servers
    urlopen(Request(f"{server.base}/sleep?level=1", method="POST")).close()
    assert run(plan, found, tmp_path).value
    assert Path(server.log).read_text() == "/sleep\n/wake_up\n/sleep\n"


def test_what_does_not_start_is_told_and_the_others_are_kept(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    places = (Place("here", 0, ()), Place("here", 0, ()))
    plan = planned(make_plan, replicas=2, places=places)
    once = f"--say 'RuntimeError: no' --exit 1 --once {tmp_path / 'once'}"
    (server,) = up(plan, library(server_args=once), tmp_path).servers
    assert server.alive
    with pytest.raises(RunError) as caught:
        up(planned(make_plan), library(server_args="--say 'RuntimeError: no' --exit 1"), tmp_path)
    (failure,) = caught.value.failures
    assert failure.instance == "engine `a`"
    assert failure.reason.startswith("its server ended: RuntimeError: no; its log is ")


def test_a_server_that_was_up_when_bringing_up_was_interrupted_can_be_ended(
    make_plan: MakePlan, tmp_path: Path, starts: Path
) -> None:
    """One of two is up and the other is waited for: the first may not be lost."""
    places = (Place("here", 0, ()), Place("here", 0, ()))
    plan = planned(make_plan, replicas=2, places=places)
    slow = library(server_args=f"--late {tmp_path / 'never'}")

    async def main() -> None:
        coming = asyncio.create_task(bring_up(plan, slow, serving(tmp_path, lasting=True)))
        await until_soon(lambda: starts.exists() and starts.read_text().count("\n") == 2)
        # metrics are read when a server has answered
        await until_soon(lambda: (tmp_path / "never.read").exists())
        coming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coming

    asyncio.run(main())
    (server,) = warm_servers(tmp_path / "warm")
    end(tmp_path / "warm", [server])
    pids = [int(line.split()[0]) for line in starts.read_text().splitlines()]
    until(lambda: not any(map(runs, pids)))
