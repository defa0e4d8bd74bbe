"""Python executors for real: threads, child processes, and everything that goes wrong in them."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.progress import RunEvent
from murakkab.runtime.record import load_record
from murakkab.targets.library import Library
from murakkab.targets.plan import Plan

from .conftest import MakeLibrary, MakePlan

ONE = """module placed
task @work(%x: Int) -> Int {binding = ["value"], interface = "work"}
engine @e
workflow @w(%x: Int) -> Int
{
  %y = invoke @work(%x) {engine = @e, executor = @work, knob.scale = 3, pin.shift = "= 4"} : Int
  return(%y)
}
"""
EACH = """module placed
task @work(%x: Int) -> Int
engine @e
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @work(%x) {engine = @e, executor = @work} : Int
    yield(%y)
  } : [Int]
  return(%ys)
}
"""
POOLS = pytest.mark.parametrize("pooling", ["thread", "process"])


def run(plan: Plan, library: Library, **inputs: Any) -> Any:
    return asyncio.run(run_plan(plan, inputs, library=library)).value


def failure(plan: Plan, library: Library, **inputs: Any) -> str:
    with pytest.raises(RunError) as caught:
        run(plan, library, **inputs)
    (found,) = caught.value.failures
    return found.reason


@POOLS
def test_parameters_go_by_the_interfaces_names_and_knobs_by_theirs(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str
) -> None:
    source = "def work(value, scale, shift=0):\n    return value * scale + shift\n"
    library = make_library(source, work={"pooling": pooling})
    assert run(make_plan(ONE), library, x=5) == 19


def test_knobs_a_function_does_not_know_are_left_out(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    library = make_library("def work(value):\n    return value\n", work={})
    assert run(make_plan(ONE), library, x=5) == 5


@POOLS
def test_an_exception_is_a_failed_step_with_its_reason_and_line(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str, tmp_path: Path
) -> None:
    source = "def work(value):\n    raise ValueError('no such scene')\n"
    reason = failure(make_plan(ONE), make_library(source, work={"pooling": pooling}), x=1)
    assert reason == f"raised ValueError: no such scene (at {tmp_path / 'code.py'}:2)"


ODD_ERRORS = {
    "raise SystemExit(5)": "raised SystemExit: 5",
    "raise KeyboardInterrupt": "raised KeyboardInterrupt",
    "import asyncio; raise asyncio.CancelledError": "raised CancelledError",
    "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()": "raised Odd",
    "raise ValueError('half \\ud800')": "raised ValueError: half ?",
}


@POOLS
@pytest.mark.parametrize("code", ODD_ERRORS)
def test_whatever_a_function_raises_is_a_failed_step(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str, code: str, tmp_path: Path
) -> None:
    library = make_library(f"def work(value):\n    {code}\n", work={"pooling": pooling})
    plan, record = make_plan(ONE), tmp_path / "run.json"
    with pytest.raises(RunError, match=r"raised ") as caught:
        asyncio.run(run_plan(plan, {"x": 1}, library=library, record=record))
    assert caught.value.failures[0].reason.startswith(ODD_ERRORS[code])
    assert load_record(record).document["status"] == "failed"


def test_a_child_that_a_signal_without_a_name_kills_is_told(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    code = "import os\ndef work(value):\n    os.kill(os.getpid(), 40)\n"
    library = make_library(code, work={"pooling": "process"})
    assert "its worker process crashed (signal 40)" in failure(make_plan(ONE), library, x=1)


@POOLS
def test_a_value_of_the_wrong_type_is_a_failed_step(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str
) -> None:
    library = make_library("def work(value):\n    return 'one'\n", work={"pooling": pooling})
    reason = failure(make_plan(ONE), library, x=1)
    assert reason == "returned a value of the wrong type: expected Int, got 'one'"


UNSENDABLE = {
    "a function": "def work(value):\n    return lambda: value\n",
    "nested too deep": """
def work(value):
    for _ in range(100_000):
        value = [value]
    return value
""",
    "whose own method fails": """
class Odd:
    def __reduce__(self):
        raise KeyError("odd")
def work(value):
    return Odd()
""",
}


@pytest.mark.parametrize("code", UNSENDABLE.values(), ids=UNSENDABLE.keys())
def test_a_value_that_cannot_leave_its_process_is_a_failed_step(
    make_plan: MakePlan, make_library: MakeLibrary, code: str
) -> None:
    library = make_library(code, work={"pooling": "process"})
    assert failure(make_plan(ONE), library, x=1).startswith("returned what cannot be sent on")


def test_a_class_of_the_executors_own_does_not_leave_its_process(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    source = "class Own:\n    pass\ndef work(value):\n    return Own()\n"
    library = make_library(source, work={"pooling": "process"})
    reason = failure(make_plan(ONE), library, x=1)
    assert reason.startswith("returned what cannot be ")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its worker process crashed (SIGSEGV)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its worker process was killed (SIGKILL); did"),
        ("print('goodbye', flush=True); os._exit(7)", "ended by itself (exit code 7)"),
    ],
)
def test_a_crash_is_the_failure_of_the_step_that_was_running(
    make_plan: MakePlan, make_library: MakeLibrary, how: str, told: str
) -> None:
    source = f"import os, signal\ndef work(x):\n    if x == 3:\n        {how}\n    return x\n"
    library = make_library(source, work={"pooling": "process"})
    with pytest.raises(RunError) as caught:
        run(make_plan(EACH, concurrency=1), library, xs=[1, 2, 3, 4])
    (found,) = caught.value.failures
    assert found.instance == "y[2]"
    assert told in found.reason
    assert ("goodbye" in found.reason) == ("goodbye" in how)


def test_a_process_lives_on_from_call_to_call_and_engines_run_side_by_side(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    source = "import os, time\ndef work(x):\n    time.sleep(0.05)\n    return os.getpid()\n"
    library = make_library(source, work={"pooling": "process"})
    pids = run(make_plan(EACH, concurrency=2), library, xs=list(range(12)))
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_a_process_imports_its_packages_ahead_and_misses_none_before_it_is_called(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    source = "import sys\ndef work(value):\n    return 'wave' in sys.modules and 4\n"
    packages = ("wave", "nothing_of_that_name")
    library = make_library(source, work={"pooling": "process", "requires": packages})
    assert run(make_plan(ONE), library, x=1) == 4


def test_a_process_gets_the_cores_its_executor_declares(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    source = "import os\ndef work(value):\n    return int(os.environ['OMP_NUM_THREADS'])\n"
    library = make_library(source, work={"pooling": "process", "cores": 3})
    assert run(make_plan(ONE), library, x=1) == 3


RETRIED = """
from pathlib import Path
from murakkab.runtime.executors.errors import ExecutorError
tries = Path(__file__).with_name("tries")
def work(value):
    count = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("." * (count + 1))
    if count < 1:
        raise ExecutorError("the server is busy", retryable=True)
    return count
"""


@POOLS
def test_a_retryable_failure_is_tried_again(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str
) -> None:
    events: list[RunEvent] = []
    library = make_library(RETRIED, work={"pooling": pooling})
    plan = make_plan(ONE)
    done = asyncio.run(run_plan(plan, {"x": 1}, library=library, on_event=events.append))
    assert done.value == 1
    assert [e.kind for e in events] == ["started", "retried", "started", "completed"]
    assert done.record.document["steps"][0]["attempts"] == 2


@POOLS
def test_a_call_that_takes_too_long_is_given_up(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str
) -> None:
    source = "import time\ndef work(x):\n    time.sleep(30 if x else 0)\n    return x\n"
    effect = EACH.replace("-> Int\nengine", "-> Int {effect}\nengine")  # so that it is tried once
    library = make_library(source, work={"pooling": pooling, "settings": (("timeout_s", 1),)})
    assert failure(make_plan(effect), library, xs=[0, 1]) == "timed out after 1 s"


def test_a_call_given_up_in_a_thread_does_not_keep_its_repetition_waiting(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    source = (
        "import time\ncalls = []\ndef work(x):\n    calls.append(x)\n"
        "    time.sleep(30 if len(calls) == 1 else 0)\n    return len(calls)\n"
    )
    library = make_library(source, work={"settings": (("timeout_s", 0.2),)})
    assert run(make_plan(EACH, concurrency=1), library, xs=[0]) == [2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"entry": "other"}, "has no function `other`"),
        ({"file": "absent.py"}, "absent.py` is not a Python file"),
        ({"file": None, "entry": "nobody"}, "no installed package has an entry point `nobody`"),
    ],
)
@POOLS
def test_code_that_is_not_there_is_told(
    make_plan: MakePlan,
    make_library: MakeLibrary,
    changes: dict[str, Any],
    told: str,
    pooling: str,
) -> None:
    library = make_library("work = 3\n", work={"pooling": pooling, **changes})
    assert told in failure(make_plan(ONE), library, x=1)


def test_code_that_does_not_load_is_told(make_plan: MakePlan, make_library: MakeLibrary) -> None:
    library = make_library("import nothing_of_that_name\n", work={})
    reason = failure(make_plan(ONE), library, x=1)
    assert "cannot be loaded: ModuleNotFoundError" in reason


PARENT = """
import asyncio, pickle, sys
from murakkab.runtime.driver import run_plan
plan, library = pickle.load(open(sys.argv[1], "rb"))
asyncio.run(run_plan(plan, {"xs": [1]}, library=library))
"""


def test_children_die_with_a_parent_that_is_killed(
    make_plan: MakePlan, make_library: MakeLibrary, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    source = (
        "import os, time\nfrom pathlib import Path\ndef work(x):\n"
        f"    Path({str(mark)!r}).write_text(str(os.getpid()))\n    time.sleep(60)\n    return x\n"
    )
    library = make_library(source, work={"pooling": "process"})
    (tmp_path / "run.pickle").write_bytes(pickle.dumps((make_plan(EACH), library)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", PARENT, str(tmp_path / "run.pickle")]
    parent = subprocess.Popen(arguments, env=environment)
    child = int(_wait_for(lambda: mark.read_text() if mark.exists() else ""))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _wait_for(lambda: "gone" if not _alive(child) else "") == "gone"


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _wait_for(look: Any) -> str:
    for _ in range(600):
        found: str = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")
