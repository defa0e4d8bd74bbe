"""Running plans: what is refused before, what is kept after, and how a run ends early."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.ir.types import INT, ListOf
from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.progress import ProgressTracker, RunEvent
from murakkab.runtime.record import load_record
from murakkab.targets.library import Library
from murakkab.targets.sizes import default_size

from .conftest import MakeLibrary, MakePlan

TEXT = """module placed
task @first(%x: Int) -> Int
task @second(%x: Int) -> Int
engine @a
engine @b
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @first(%x) {engine = @a, executor = @first} : Int
    %z = invoke @second(%y) {engine = @b, executor = @second} : Int
    yield(%z)
  } : [Int]
  return(%ys)
}
"""
CODE = """
import threading, time
at_work, most = 0, 0
lock = threading.Lock()
def first(x):
    return x + 1
def second(x):
    global at_work, most
    with lock:
        at_work += 1
        most = max(most, at_work)
    time.sleep(0.002)
    with lock:
        at_work -= 1
    if x == 103:
        raise ValueError("three")
    return most
"""


@pytest.fixture
def library(make_library: MakeLibrary) -> Library:
    return make_library(CODE, first={}, second={})


def test_an_engine_takes_no_more_calls_at_once_than_planned(
    make_plan: MakePlan, library: Library
) -> None:
    plan = make_plan(TEXT, concurrency=3)
    done = asyncio.run(run_plan(plan, {"xs": list(range(30))}, library=library))
    assert max(done.value) == 3


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "input `xs` ([Int]) is missing"),
        ({"xs": ["a"]}, "input `xs`: in item 0: expected Int, got 'a'"),
        ({"xs": [], "y": 1}, "the workflow has no parameter `y`: it has `xs`"),
        ({"xs": [], "xss": 1}, "the workflow has no parameter `xss`: did you mean `xs`?"),
    ],
)
def test_inputs_that_do_not_fit_are_told(
    make_plan: MakePlan, library: Library, inputs: dict[str, Any], told: str
) -> None:
    with pytest.raises(RunError) as caught:
        asyncio.run(run_plan(make_plan(TEXT), inputs, library=library))
    assert caught.value.message == told


def test_a_plan_made_with_other_executors_is_refused(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(CODE, first={"digest": "changed"})
    with pytest.raises(InputError) as caught:
        asyncio.run(run_plan(make_plan(TEXT), {"xs": []}, library=library))
    found = {d.id: d.message for d in caught.value.diagnostics}
    assert found == {
        "changed-executor": "`first` has changed since the plan was compiled",
        "unknown-executor": "the plan runs `second`, which is not in the library",
    }


def test_a_runner_that_is_not_here_is_refused(make_plan: MakePlan, library: Library) -> None:
    with pytest.raises(InputError, match="needs runner `http`, which does not run here"):
        asyncio.run(run_plan(make_plan(TEXT, runner="http"), {"xs": []}, library=library))


def test_a_failed_run_keeps_what_completed(
    make_plan: MakePlan, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(RunError) as caught:
        plan = make_plan(TEXT, concurrency=1)
        asyncio.run(run_plan(plan, {"xs": [1, 102, 3]}, library=library, record=path))
    error = caught.value
    assert error.record == path
    assert "step `z[1]` failed with executor `second`: raised ValueError: three" in str(error)
    record = load_record(path)
    assert record.document["status"] == "failed"
    assert record.document["failures"][0]["instance"] == "z[1]"
    kept = {call["instance"]: call for call in record.calls()}
    assert kept["y[1]"]["result"]["value"] == 103
    assert "error" in kept["z[1]"]
    assert record.document["result"] is None


def test_events_tell_the_progress(make_plan: MakePlan, library: Library) -> None:
    plan = make_plan(TEXT)
    tracker = ProgressTracker(plan)
    seen: list[RunEvent] = []

    def see(event: RunEvent) -> None:
        tracker.see(event)
        seen.append(event)

    asyncio.run(run_plan(plan, {"xs": [1, 2]}, library=library, on_event=see))
    begun = [event.instance for event in seen if event.kind == "started"]
    assert sorted(begun) == ["y[0]", "y[1]", "z[0]", "z[1]"]
    end = tracker.snapshot(2.0)
    assert (end.done, end.running, end.expected) == (4, 0, 4)
    assert end.remaining_s == 0.0


def test_progress_expects_calls_for_lists_as_long_as_they_are(make_plan: MakePlan) -> None:
    plan = make_plan(TEXT)
    tracker = ProgressTracker(plan, {"xs": [1] * 40})
    planned = ProgressTracker(plan).snapshot(0.0).expected
    by_default = default_size(ListOf(INT)).length
    assert tracker.snapshot(0.0).expected == round(planned * 40 / by_default)


def test_progress_weighs_the_plan_against_the_pace(make_plan: MakePlan) -> None:
    plan = make_plan(TEXT)  # two calls expected, 3 s predicted
    tracker = ProgressTracker(plan)
    assert tracker.snapshot(1.0).remaining_s is None
    tracker.see(RunEvent("started", 0.0, "y[0]", "y", "a", 1))
    tracker.see(RunEvent("completed", 1.0, "y[0]", "y", "a", 1, items=4))
    now = tracker.snapshot(1.0)
    # half done after 1 s: 1 s more at this pace, 2 s by the plan
    assert (now.done, now.items, now.remaining_s) == (1, 4, 1.5)


SLOW = CODE.replace("0.002", "0.3")


def test_ctrl_c_lets_calls_at_work_end_and_begins_no_more(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    library = make_library(SLOW, first={}, second={})

    def press(event: RunEvent) -> None:
        if event.instance == "z[0]" and event.kind == "started":
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(RunError) as caught:
        plan = make_plan(TEXT, concurrency=1)
        asyncio.run(
            run_plan(
                plan,
                {"xs": list(range(50))},
                library=library,
                record=path,
                on_event=press,
                signals=True,
            )
        )
    assert caught.value.message == "interrupted"
    assert (caught.value.interrupted, caught.value.failures) == (True, ())
    document = json.loads(path.read_text())
    assert document["status"] == "interrupted"
    second = document["steps"][1]
    assert (second["calls"], second["failed"]) == (1, 0)


def test_a_second_ctrl_c_stops_calls_at_work_and_the_run_is_interrupted_all_the_same(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    library = make_library(CODE.replace("0.002", "60"), first={}, second={"pooling": "process"})
    path = tmp_path / "run.json"
    told: list[int] = []

    def press(event: RunEvent) -> None:
        if event.instance == "z[0]" and event.kind == "started":
            for delay_s in (0.1, 0.2, 0.2):
                asyncio.get_running_loop().call_later(delay_s, os.kill, os.getpid(), signal.SIGINT)

    with pytest.raises(RunError) as caught:
        asyncio.run(
            run_plan(
                make_plan(TEXT),
                {"xs": [1]},
                library=library,
                record=path,
                on_event=press,
                signals=True,
                on_interrupt=told.append,
            )
        )
    assert (caught.value.interrupted, caught.value.failures) == (True, ())
    assert told == [1]
    record = load_record(path)
    assert (record.document["status"], record.document["failures"]) == ("interrupted", [])
    (stopped,) = record.calls("z")
    assert stopped["error"] == "stopped, because the run is ending"


def test_a_call_that_fails_while_an_interrupted_run_winds_down_is_told(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library(SLOW, first={}, second={})

    def press(event: RunEvent) -> None:
        if event.instance == "z[0]" and event.kind == "started":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunError) as caught:
        plan = make_plan(TEXT)
        asyncio.run(run_plan(plan, {"xs": [102]}, library=library, on_event=press, signals=True))
    assert caught.value.interrupted
    assert [failure.instance for failure in caught.value.failures] == ["z[0]"]


def test_a_value_larger_than_a_line_is_kept_in_a_file_of_its_own(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    text = TEXT.replace("@first(%x: Int) -> Int", "@first(%x: Int) -> Text")
    text = text.replace("@second(%x: Int)", "@second(%x: Text)").replace(
        "executor = @first} : Int", "executor = @first} : Text"
    )
    code = "def first(x):\n    return 'a' * x\ndef second(x):\n    return len(x)\n"
    library = make_library(code, first={}, second={})
    path = tmp_path / "run.json"
    done = asyncio.run(run_plan(make_plan(text), {"xs": [10, 5000]}, library=library, record=path))
    assert done.value == [10, 5000]
    record = load_record(path)
    results = [call["result"] for call in record.calls("y")]
    assert sorted(len(record.value(kept)) for kept in results) == [10, 5000]
    assert sum("value" in kept for kept in results) == 1


def test_unknown_keys_make_a_record_invalid_and_truncation_is_told(
    make_plan: MakePlan, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    asyncio.run(run_plan(make_plan(TEXT), {"xs": [1]}, library=library, record=path))
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(InputError, match=r"not valid JSON \(truncated\?\)"):
        load_record(path)
    path.write_text(json.dumps({**json.loads(text), "more": 1}))
    with pytest.raises(InputError, match="'more' was unexpected"):
        load_record(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="no run record of schema"):
        load_record(path)


def test_energy_shares_are_modelled_from_the_plan_by_calls_done(
    make_plan: MakePlan, library: Library
) -> None:
    plan = make_plan(TEXT)
    plan = replace(plan, steps=tuple(replace(s, calls=4.0, energy_j=8.0) for s in plan.steps))
    done = asyncio.run(run_plan(plan, {"xs": [1, 2, 3]}, library=library))
    shares = [(s["energy_j"], s["energy_basis"]) for s in done.record.document["steps"]]
    assert shares == [(6.0, "modelled"), (6.0, "modelled")]


def test_a_medium_that_is_not_there_is_the_failure_of_the_step_that_returned_it(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    text = TEXT.replace("(%x: Int) -> Int", "(%x: Int) -> Video", 1)
    text = text.replace("@second(%x: Int)", "@second(%x: Video)").replace(
        "executor = @first} : Int", "executor = @first} : Video"
    )
    code = (
        "from murakkab.runtime.media import Media\n"
        "def first(x):\n    return Media('video', path='/nowhere/a.mp4')\n"
        "def second(x):\n    return 1\n"
    )
    library = make_library(code, first={}, second={})
    path = tmp_path / "run.json"
    with pytest.raises(RunError, match=r"cannot be recorded: .*/nowhere/a\.mp4"):
        asyncio.run(run_plan(make_plan(text), {"xs": [1]}, library=library, record=path))
    assert load_record(path).document["steps"][0]["failed"] == 1


def test_a_record_that_cannot_be_kept_is_told_before_anything_runs(
    make_plan: MakePlan, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "run.json"
    with pytest.raises(InputError, match="cannot keep a record at"):
        asyncio.run(run_plan(make_plan(TEXT), {"xs": [1]}, library=library, record=path))


def test_a_failure_elsewhere_ends_the_wait_for_a_repetition(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    text = TEXT.replace("second(%y)", "second(%x)").replace("yield(%z)", "yield(%y)")
    code = (
        "import time\nfrom murakkab.runtime.executors.errors import ExecutorError\n"
        "def first(x):\n    raise ExecutorError('busy', retryable=True)\n"
        "def second(x):\n    time.sleep(0.1)\n    raise ExecutorError('broken')\n"
    )
    library = make_library(code, first={}, second={})
    events: list[RunEvent] = []
    with pytest.raises(RunError) as caught:
        plan = make_plan(text)
        asyncio.run(run_plan(plan, {"xs": [1]}, library=library, on_event=events.append))
    assert [str(f) for f in caught.value.failures] == [
        "step `z[0]` failed with executor `second`: broken"
    ]
    assert [e.kind for e in events if e.step == "y"] == ["started", "retried"]
