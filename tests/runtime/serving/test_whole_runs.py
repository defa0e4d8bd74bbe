"""Whole runs with a stand-in for vLLM: turns on one place, records, and what failures say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.record import load_record
from murakkab.runtime.serving import command, fleet, replicas, turns
from murakkab.runtime.serving.fleet import Serving
from murakkab.targets.endpoint import EndpointPlan
from murakkab.targets.library import Executor, Library, Quality
from murakkab.targets.plan import EnginePlan, Place, Plan

from ..conftest import MakePlan
from .processes import runs, until_soon
from .receiver import receiver, refusal, said

_STANDIN = str(Path(__file__).with_name("standin.py"))
TEXT = """module placed
task @first(%x: Text) -> Text
task @second(%x: Text) -> Text
engine @a
engine @b
workflow @w(%xs: [Text]) -> [Text]
{
  %ys = map(%xs) { ^(%x: Text)
    %y = invoke @first(%x) {engine = @a, executor = @first} : Text
    %z = invoke @second(%y) {engine = @b, executor = @second} : Text
    yield(%z)
  } : [Text]
  return(%ys)
}
"""
NO_MEMORY = "torch.OutOfMemoryError: CUDA out of memory."


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the stand-in started instead of vLLM; return the file that it notes its starts in."""
    path = tmp_path / "starts"
    program = (sys.executable, "-S", _STANDIN, "--starts", str(path))
    monkeypatch.setattr(command, "_program", lambda model: program)
    monkeypatch.setattr(turns, "IDLE_S", 0.05)
    monkeypatch.setattr(replicas, "WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(replicas, "_FIRST_RESTART_S", 0.05)
    monkeypatch.setattr(fleet, "WATCH_EVERY_S", 0.05)
    return path


def library(**settings: Mapping[str, Any]) -> Library:
    """Return executors `first` and `second`, whose servers get these settings."""
    quality = Quality(1.0, "relative", "test")
    return Library(
        tuple(
            Executor(
                *(name, name, "", "vllm", ("cpu",), quality),
                model="org/tiny",
                prompt="{x}",
                digest=name,
                settings=tuple(settings.get(name, {}).items()),
            )
            for name in ("first", "second")
        ),
        "library",
    )


def placed(plan: Plan, **engines: Mapping[str, Any]) -> Plan:
    """Return a plan with its engines on the cores of one node, one after the other."""

    def changed(engine: EnginePlan, index: int) -> EnginePlan:
        given = {
            "places": (Place("here", 0, ()),),
            "start_s": 5.0 * index,
            "end_s": 5.0 * index + 5.0,
            "prestarted": index == 0,
            **engines.get(engine.name, {}),
        }
        return replace(engine, **given)

    return replace(plan, engines=tuple(changed(e, i) for i, e in enumerate(plan.engines)))


def run(plan: Plan, found: Library, folder: Path, xs: list[str], **serving: Any) -> RunResult:
    told = Serving(environ=dict(os.environ), logs=folder / "logs", **serving)
    return asyncio.run(
        run_plan(plan, {"xs": xs}, library=found, record=folder / "run.json", serving=told)
    )


def pids(starts: Path) -> list[int]:
    return [int(line.split()[0]) for line in starts.read_text().splitlines()]


def valid(document: Any) -> None:
    """Check a record against its schema."""
    schema = json.loads((files("murakkab.targets") / "schemas" / "run.json").read_text())
    Draft202012Validator(schema).validate(document)


def test_engines_take_turns_on_one_place_and_leave_nothing(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    alone = {"server_args": f"--alone {starts}"}
    plan = placed(make_plan(TEXT, runner="vllm"))
    words = [f"word {n}" for n in range(6)]
    done = run(plan, library(first=alone, second=alone), tmp_path, words)
    assert done.value == words
    assert len(pids(starts)) >= 2 and not any(map(runs, pids(starts)))

    document = load_record(tmp_path / "run.json").document
    valid(document)
    assert [engine["engine"] for engine in document["engines"]] == ["a", "b"]
    for engine in document["engines"]:
        (server,) = engine["servers"]
        assert server["origin"] == "own" and server["start_s"] > 0.0
        assert server["model"] == {"a": "first", "b": "second"}[engine["engine"]]
        assert Path(server["log"]).is_file()
    for step in document["steps"]:
        assert step["usage"]["requests"] == 6
        assert step["usage"]["prompt_tokens"] == step["usage"]["output_tokens"] == 12


def test_engines_on_other_places_are_up_together(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    elsewhere = {"places": (Place("here", 1, ()),), "prestarted": True}
    plan = placed(make_plan(TEXT, runner="vllm"), b=elsewhere)
    done = run(plan, library(), tmp_path, ["pid", "x"])
    first, second = pids(starts)
    # `first` says its number, which `second` repeats
    assert done.value[1] == "x" and int(done.value[0]) in (first, second)
    valid(done.record.document)


def test_servers_beside_each_other_in_a_gpus_memory_start_one_after_the_other(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    """vLLM measures how much memory is free when it starts."""
    beside: dict[str, Any] = {"start_s": 0.0, "end_s": 10.0, "prestarted": True}
    beside |= {"memory_share": 0.4, "device": "gpu", "tp": 1, "places": (Place("here", 0, (0,)),)}
    plan = placed(make_plan(TEXT, runner="vllm"), a=beside, b=beside)
    gate = tmp_path / "gate"
    seen: list[int] = []

    def watch() -> None:
        while not starts.exists():
            time.sleep(0.01)
        time.sleep(0.3)
        seen.append(len(pids(starts)))
        gate.touch()

    watching = Thread(target=watch)
    watching.start()
    gated = {"server_args": f"--gate {gate}"}
    done = run(plan, library(first=gated, second=gated), tmp_path, ["x"])
    watching.join()
    assert done.value == ["x"]
    assert seen == [1] and len(pids(starts)) == 2


def test_replicas_share_the_calls(make_plan: MakePlan, starts: Path, tmp_path: Path) -> None:
    two = {"replicas": 2, "places": (Place("here", 0, ()), Place("here", 0, ()))}
    plan = placed(make_plan(TEXT, runner="vllm", concurrency=4), a=two)
    done = run(plan, library(), tmp_path, ["pid"] * 40)
    assert {int(said_by) for said_by in done.value} <= set(pids(starts)[:2])
    assert len(done.record.document["engines"][0]["servers"]) == 2


def test_a_run_survives_the_death_of_a_server(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    plan = placed(make_plan(TEXT, runner="vllm"), b={"places": (Place("here", 1, ()),)})
    gate = tmp_path / "gate"

    async def main() -> RunResult:
        told = Serving(environ=dict(os.environ), logs=tmp_path / "logs")
        inputs = {"xs": ["one", f"wait {gate}", "three"]}
        running = asyncio.create_task(run_plan(plan, inputs, library=library(), serving=told))
        await until_soon(lambda: starts.exists() and starts.stat().st_size)
        # only once calls are at work: the engine `b` is started by the first that is done
        await until_soon(lambda: len(pids(starts)) == 2)
        os.kill(pids(starts)[0], signal.SIGKILL)
        gate.touch()
        return await running

    done = asyncio.run(main())
    assert done.value == ["one", f"wait {gate}", "three"]
    assert done.record.document["engines"][0]["servers"][0]["restarts"] == 1
    assert not any(map(runs, pids(starts)))


def test_a_server_that_does_not_start_ends_the_run_with_its_cause(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    dies = {"server_args": f"--say '{NO_MEMORY}' --exit 1"}
    plan = placed(make_plan(TEXT, runner="vllm"))
    with pytest.raises(RunError) as caught:
        run(plan, library(first=dies), tmp_path, ["x"])
    (failure,) = caught.value.failures
    log = tmp_path / "logs" / "a-0.log"
    assert str(failure) == (
        f"engine `a`: its server ended: the GPU ran out of memory; its log is `{log}`"
    )
    assert failure.help == "use a smaller model, more GPUs for it, or a shorter context"
    assert log.read_text() == NO_MEMORY + "\n"
    document = load_record(tmp_path / "run.json").document
    valid(document)
    assert document["status"] == "failed"
    assert document["failures"][0]["reason"] == failure.reason


def test_a_late_server_that_does_not_start_fails_the_step_that_needs_it(
    make_plan: MakePlan, starts: Path, tmp_path: Path
) -> None:
    dies = {"server_args": f"--say '{NO_MEMORY}' --exit 1"}
    plan = placed(make_plan(TEXT, runner="vllm"))
    with pytest.raises(RunError) as caught:
        run(plan, library(second=dies), tmp_path, ["x"])
    (failure,) = caught.value.failures
    assert (failure.step, failure.engine, failure.executor) == ("z", "b", "second")
    assert failure.reason == (
        f"its server ended: the GPU ran out of memory; its log is `{tmp_path / 'logs/b-0.log'}`"
    )
    assert failure.attempts == 1
    assert not any(map(runs, pids(starts)))


def test_gpus_that_are_not_visible_end_the_run(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on_gpu = {"device": "gpu", "tp": 1, "places": (Place("here", 0, (0,)),)}
    plan = placed(make_plan(TEXT, runner="vllm"), a=on_gpu)
    with pytest.raises(RunError) as caught:
        run(plan, library(), tmp_path, ["x"])
    (failure,) = caught.value.failures
    assert failure.reason.startswith("the plan puts engine `a` on GPU 0, but")


def attached_run(
    make_plan: MakePlan,
    folder: Path,
    answers: Callable[..., Any],
    number: int = 1,
    **a: Any,
) -> tuple[Any, list[float]]:
    """Run with both engines at a server of the test's own; return the outcome and its requests.

    `a` is what the plan says of that engine.
    """

    async def main() -> tuple[Any, list[Any]]:
        async with receiver() as server:
            server.usual = answers
            told = Serving(endpoints={"a": f"{server.url}/v1", "second": f"{server.url}/v1"})
            plan = placed(make_plan(TEXT, runner="vllm"), a=a)
            inputs = {"xs": ["x"] * number}
            record = folder / "run.json"
            running = run_plan(plan, inputs, library=library(), record=record, serving=told)
            try:
                return await running, server.bodies
            except RunError as error:
                return error, server.bodies

    return asyncio.run(main())


def test_engines_that_attach_take_no_turns(make_plan: MakePlan, tmp_path: Path) -> None:
    """The plan has them one after the other at one place, of which they need nothing."""

    def answers(request: Any) -> Any:
        return refusal(404, "") if request.path == "/v1/models" else said("yes", cached=4)

    done, _ = attached_run(make_plan, tmp_path, answers, 3)
    assert done.value == ["yes"] * 3
    document = load_record(tmp_path / "run.json").document
    valid(document)
    assert [e["servers"][0]["origin"] for e in document["engines"]] == ["attached"] * 2
    assert document["steps"][0]["usage"] == {
        **{"requests": 3, "prompt_tokens": 30, "cached_tokens": 12, "output_tokens": 15},
        **{"usd": 0.0, "cut": 0},
    }


def test_no_more_is_spent_at_an_endpoint_than_it_may_take(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    def answers(request: Any) -> Any:
        if request.path == "/v1/models":
            return refusal(404, "")
        return said("yes", tokens=(500_000, 500_000))

    costs = EndpointPlan("http://x/v1", usd_per_mtok=(1.0, 1.0), max_usd=2.5)
    error, _ = attached_run(make_plan, tmp_path, answers, 20, endpoint=costs, concurrency=1)
    assert error.state == "stopped"
    assert "the `max_usd` of `a` of $2.5 would be crossed: $3 is spent" in error.message
    assert load_record(tmp_path / "run.json").document["steps"][0]["usage"]["usd"] == 3.0


def test_a_call_that_fails_names_step_engine_and_what_to_do(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    def answers(request: Any) -> Any:
        if request.path == "/v1/models":
            return refusal(404, "")
        return refusal(401, {"error": {"message": "who are you?"}})

    error, _ = attached_run(make_plan, tmp_path, answers)
    (failure,) = error.failures
    assert (failure.instance, failure.engine, failure.attempts) == ("y[0]", "a", 1)
    assert failure.reason.endswith("/v1/chat/completions` answered 401: who are you?")
    assert failure.help == "check the key: `key_env` in the cluster file"


def test_a_server_that_asks_to_be_left_alone_is(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    from murakkab.runtime.clock import RealClock

    later = RealClock.later

    def noted(clock: RealClock, delay_s: float, action: Callable[[], None]) -> Any:
        waits.append(delay_s)
        return later(clock, 0.0, action)

    monkeypatch.setattr(RealClock, "later", noted)
    asked: list[str] = []

    def answers(request: Any) -> Any:
        if request.path == "/v1/models":
            return refusal(404, "")
        asked.append(request.path)
        busy = refusal(429, {"error": "slowly"}, **{"Retry-After": "77"})
        return busy if len(asked) == 1 else said("yes")

    done, _ = attached_run(make_plan, tmp_path, answers)
    assert done.value == ["yes"] and 77.0 in waits
