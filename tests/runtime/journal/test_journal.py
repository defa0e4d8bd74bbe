"""Journals: what they keep of a run, and what they refuse to go on with."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import CallFailed, RunError
from murakkab.runtime.journal import codec
from murakkab.runtime.journal.database import is_in_use
from murakkab.runtime.journal.journal import Journal, begin, resume
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
from murakkab.runtime.progress import RunEvent
from murakkab.runtime.spending import Bounds
from murakkab.runtime.worker import Offer
from murakkab.targets.library import Library, load_named
from murakkab.targets.plan import Plan

from ...python_entries import python_entries

SOURCE = """task first(x: Int) -> Int "Some work."
effect task tell(x: Int) -> Bool "Tell somebody."

workflow w(xs: [Int]) -> [Bool] {
    oks = for x in xs {
        y  = first(x)
        ok = tell(y)
        yield ok
    }
    return oks
}
"""
CODE = """
from pathlib import Path
LOG = Path(__file__).with_name("log")
def note(line):
    with LOG.open("a") as file:
        file.write(line + "\\n")
def first(x):
    note(f"first {x}")
    if x == 3 and Path(__file__).with_name("broken").exists():
        raise ValueError("three")
    return 10 * x
def tell(x, *, idempotency_key=None):
    note(f"tell {x} {idempotency_key}")
    if x == 20 and Path(__file__).with_name("refuses").exists():
        raise ValueError("no answer")
    return True
"""
INPUTS = {"xs": [1, 2, 3, 4]}


def project(
    folder: Path, source: str, code: str, passes: str | None = None, **names: str
) -> tuple[Plan, Library]:
    """Return a plan and its library: the executors of `names`, with more lines for each."""
    (folder / "w.mkb").write_text(source)
    (folder / "code.py").write_text(code)
    path = folder / "library.toml"
    path.write_text(python_entries(file="code.py", **names))
    request = Request(
        source=folder / "w.mkb", target="local", libraries=(path,), level=0, passes=passes
    )
    plan = compile_workflow(request).plan
    return plan, load_named(plan.executors(), (path,))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Library]:
    return project(tmp_path, SOURCE, CODE, first="", tell="")


@pytest.fixture
def plan(made: tuple[Plan, Library]) -> Plan:
    return made[0]


@pytest.fixture
def library(made: tuple[Plan, Library]) -> Library:
    return made[1]


def run(plan: Plan, library: Library, journal: Journal | None, **more: Any) -> RunResult:
    return asyncio.run(run_plan(plan, INPUTS, library=library, journal=journal, **more))


def log(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_a_failed_run_goes_on_where_it_stood(plan: Plan, library: Library, tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    (tmp_path / "broken").touch()
    with pytest.raises(RunError) as caught:
        run(plan, library, begin(path, plan, INPUTS))
    assert caught.value.journal == path
    (tmp_path / "broken").unlink()
    before = len(log(tmp_path))
    journal = resume(path)
    assert journal.plan() == plan and journal.inputs() == INPUTS
    events: list[RunEvent] = []
    done = run(plan, library, journal, record=tmp_path / "run.json", on_event=events.append)
    assert done.value == [True] * 4
    told = [line for line in log(tmp_path) if line.startswith("tell")]
    assert len(told) == len(set(told)) == 4  # each with a key of its own, none twice
    again = log(tmp_path)[before:]
    assert "first 3" in again and "first 1" not in again
    steps = {step["step"]: step for step in done.record.document["steps"]}
    restored = {name: step.get("restored", 0) for name, step in steps.items()}
    assert steps["y"]["calls"] == 4 and restored["y"] >= 2
    assert sum(event.kind == "restored" for event in events) == sum(restored.values())
    assert next(c["instance"] for c in done.record.calls("y") if c.get("restored")) == "y[0]"
    once_more = len(log(tmp_path))
    assert run(plan, library, resume(path)).value == [True] * 4  # one that is done tells it again
    assert len(log(tmp_path)) == once_more


def test_an_effect_in_doubt_is_told_and_not_repeated(
    plan: Plan, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "run.db"
    (tmp_path / "refuses").touch()
    with pytest.raises(RunError, match="no answer"):
        run(plan, library, begin(path, plan, INPUTS))
    (tmp_path / "refuses").unlink()
    tried = log(tmp_path).count
    with pytest.raises(RunError, match="nobody can tell here whether it happened") as caught:
        run(plan, library, resume(path))
    assert "--settle 'ok[1]=RESULT'" in str(caught.value.failures[0].help)
    journal = resume(path)
    with pytest.raises(InputError, match=r"what became of `ok\[0\]` is not in question"):
        journal.settle("ok[0]", True, again=False)
    journal.settle("ok[1]", False, again=False)
    assert run(plan, library, journal).value == [True, False, True, True]
    keys = {line for line in log(tmp_path) if line.startswith("tell 20")}
    assert tried(next(iter(keys))) == 1


def test_an_effect_may_be_done_again_when_the_user_says_so(
    plan: Plan, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "run.db"
    (tmp_path / "refuses").touch()
    with pytest.raises(RunError):
        run(plan, library, begin(path, plan, INPUTS))
    (tmp_path / "refuses").unlink()
    journal = resume(path)
    journal.settle("ok[1]", None, again=True)
    assert run(plan, library, journal).value == [True] * 4
    twice = [line for line in log(tmp_path) if line.startswith("tell 20 ")]
    assert len(twice) == 2 and twice[0] == twice[1]  # with the key it had


def test_an_idempotent_effect_is_repeated_with_its_key(
    tmp_path: Path,
) -> None:
    plan, library = project(tmp_path, SOURCE, CODE, first="", tell="idempotent = true")
    path = tmp_path / "run.db"
    (tmp_path / "refuses").touch()
    with pytest.raises(RunError):
        run(plan, library, begin(path, plan, INPUTS))
    (tmp_path / "refuses").unlink()
    assert run(plan, library, resume(path)).value == [True] * 4
    assert len({line for line in log(tmp_path) if line.startswith("tell 20 ")}) == 1


UNTOUCHED = """
from murakkab.runtime.executors.errors import ExecutorError
from pathlib import Path
def first(x):
    return 10 * x
def tell(x):
    if not Path(__file__).with_name("up").exists():
        raise ExecutorError("not there", untouched=True)
    return True
"""


def test_an_effect_that_changed_nothing_is_done_again(
    tmp_path: Path,
) -> None:
    plan, library = project(tmp_path, SOURCE, UNTOUCHED, first="", tell="")
    path = tmp_path / "run.db"
    with pytest.raises(RunError, match="not there"):
        run(plan, library, begin(path, plan, INPUTS))
    (tmp_path / "up").touch()
    assert run(plan, library, resume(path)).value == [True] * 4


def test_a_result_that_cannot_be_written_fails_its_step(
    plan: Plan, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "run.db"
    journal = begin(path, plan, INPUTS)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE step")
    with pytest.raises(RunError, match="cannot be written to the journal: no such table: step"):
        run(plan, library, journal)
    assert not any(line.startswith("tell") for line in log(tmp_path))  # nothing went on with it


def test_a_result_too_long_for_a_journal_fails_its_step_alone(
    plan: Plan, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.db"
    journal = begin(path, plan, INPUTS)
    monkeypatch.setattr(codec, "_MAX_BYTES", 1)  # instead of a thousand million: "10" is too long
    with pytest.raises(RunError, match="takes 2 bytes, more than the 1 of one value") as caught:
        run(plan, library, journal)
    assert "`--no-journal`" in str(caught.value.failures[0].help)
    monkeypatch.undo()
    assert run(plan, library, resume(path)).value == [True] * 4


def test_a_journal_that_another_run_writes_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    journal = begin(path, plan, INPUTS)
    assert is_in_use(path)
    with pytest.raises(InputError, match="another run is writing"):
        resume(path)
    journal.end()
    assert not is_in_use(path)
    resume(path).end()


def test_a_new_run_never_writes_over_a_journal(plan: Plan, tmp_path: Path) -> None:
    begin(tmp_path / "run.db", plan, INPUTS).end()
    with pytest.raises(InputError, match="already"):
        begin(tmp_path / "run.db", plan, INPUTS)


def test_one_that_was_being_made_when_its_run_was_killed_is_made_anew(
    plan: Plan, tmp_path: Path
) -> None:
    left = tmp_path / "run.db.0a1b2c3d.part"
    left.write_bytes(b"half")
    begin(tmp_path / "run.db", plan, INPUTS).end()
    resume(tmp_path / "run.db").end()
    assert sorted(tmp_path.glob("run.db*")) == [
        tmp_path / "run.db",
        tmp_path / "run.db-lock",
        left,
    ]


def garbled(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE run (id TEXT)")


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")


def empty(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM run")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def without_steps(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE step")


def without_an_end(path: Path) -> None:
    """Have a view in the place of a table whose rows never end."""
    without_steps(path)
    rows = "WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE VIEW step AS {rows}")


def often(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET resumed = 9223372036854775807")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without_steps, "its tables are not as they were made"),
        (without_an_end, "its tables are not as they were made"),
        (often, "its header is not as it was written"),
        (garbled, "is not a journal, or is damaged: file is not a database"),
        (foreign, "is an SQLite file of something else"),
        (newer, "has version 99, this Murakkab reads 1"),
        (empty, "holds no run"),
        (cut_short, "damaged"),
        (Path.unlink, "there is no journal"),
    ],
)
def test_what_is_no_journal_is_refused(
    plan: Plan, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "run.db"
    begin(path, plan, INPUTS).end()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    harm(path)
    with pytest.raises(InputError, match=message):
        resume(path)


MEDIA = """task copy(x: Image) -> Image "Copies."
task size(x: Image) -> Int "Counts."

workflow w(x: Image) -> Int {
    y = copy(x)
    z = size(y)
    return z
}
"""
MEDIA_CODE = """
from pathlib import Path
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
def copy(x):
    assert not Path(__file__).with_name("up").exists()
    return Media("image", data=x.read() * 2)
def size(x):
    if not Path(__file__).with_name("up").exists():
        raise ValueError("later")
    return len(x.read())
"""


def test_content_is_kept_and_files_that_changed_are_refused(
    tmp_path: Path,
) -> None:
    plan, library = project(tmp_path, MEDIA, MEDIA_CODE, copy="", size="")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"abc")
    inputs = {"x": Media("image", path=str(picture))}
    path = tmp_path / "run.db"
    with pytest.raises(RunError, match="later"):
        asyncio.run(run_plan(plan, inputs, library=library, journal=begin(path, plan, inputs)))
    (tmp_path / "up").touch()
    picture.write_bytes(b"other")
    journal = resume(path)
    with pytest.raises(InputError, match=r"`.*picture\.png` has changed"):
        journal.inputs()
    picture.write_bytes(b"abc")
    given = journal.inputs()
    done = asyncio.run(run_plan(plan, given, library=library, journal=journal))
    assert done.value == 6


LISTED = """task list(x: Int) -> [Int] "Lists."
task work(x: Int) -> Int "Works on an item."

workflow w(x: Int) -> [Int] {
    items = list(x)
    done = for item in items { yield work(item) }
    return done
}
"""


class Streaming:
    """A worker that hands over items of a list one at a time, and breaks off once."""

    def __init__(self, breaks: bool) -> None:
        self.breaks = breaks
        self.given: list[tuple[Any, ...]] = []
        self.worked: list[int] = []
        self.seats = None

    async def start(self) -> None: ...
    async def drain(self) -> None: ...
    async def stop(self) -> None: ...
    def retire(self) -> None: ...
    def health(self) -> str | None:
        return None

    def submit(self, call: Submit, offer: Offer | None = None) -> asyncio.Future[Any]:
        if call.step.task.name == "work":
            self.worked.append(call.args[0])
            return asyncio.ensure_future(self._value(10 * call.args[0]))
        assert offer is not None
        self.given.append(call.given)
        return asyncio.ensure_future(self._list(list(call.given), offer))

    async def _value(self, value: Any) -> Any:
        return value

    async def _list(self, made: list[int], offer: Offer) -> list[int]:
        # what goes on after a break is not what was there before: no model says the same again
        more = [1, 2, 3] if self.breaks else [7, 8]
        for item in more:
            made.append(item)
            offer([item])
            while self.breaks and item not in self.worked:
                await asyncio.sleep(0.001)
        if self.breaks:
            raise CallFailed("cut off for good")
        return made


def test_a_list_that_was_being_written_goes_on_behind_the_items_it_had(tmp_path: Path) -> None:
    plan, library = project(tmp_path, LISTED, "", list="", work="")
    path = tmp_path / "run.db"

    def go(worker: Streaming, journal: Journal) -> RunResult:
        workers = {engine.runner: lambda engine, executor: worker for engine in plan.engines}
        return asyncio.run(
            run_plan(plan, {"x": 1}, library=library, journal=journal, workers=workers)
        )

    with pytest.raises(RunError, match="cut off for good"):
        go(Streaming(breaks=True), begin(path, plan, {"x": 1}))
    again = Streaming(breaks=False)
    assert go(again, resume(path)).value == [10, 20, 30, 70, 80]
    assert again.given == [(1, 2, 3)]
    assert set(again.worked) <= {3, 7, 8}  # at most the last one was not written down


BRANCHES = """task is_hard(x: Int) -> Bool "Takes longest."
task one(x: Int) -> Int "One way."
task other(x: Int) -> Int "Another."

workflow w(xs: [Int]) -> [Int] {
    done = for x in xs { yield if is_hard(x) { yield one(x) } else { yield other(x) } }
    return done
}
"""
BRANCHES_CODE = """
import time
def is_hard(x):
    time.sleep(0.05)
    return x % 2 == 0
def one(x):
    return x
def other(x):
    return -x
"""


def test_branches_that_ran_ahead_are_given_up_again(tmp_path: Path) -> None:
    passes = 'bind,speculate,place{policy="reference"}'
    names = {"is_hard": "", "one": "", "other": ""}
    plan, library = project(tmp_path, BRANCHES, BRANCHES_CODE, passes, **names)
    path, given = tmp_path / "run.db", {"xs": list(range(6))}
    for make in (partial(begin, path, plan, given), partial(resume, path)):
        done = asyncio.run(run_plan(plan, given, library=library, journal=make()))
        assert done.value == [0, -1, 2, -3, 4, -5]
    steps = {step["step"]: step for step in done.record.document["steps"]}
    assert sum(step["calls"] for step in steps.values()) > 12  # both branches did run


@pytest.mark.parametrize("usage", ["[1,2", "[1]", '["a", 2, 3, 4, 5, 6]', "{}", "1"])
def test_a_call_whose_consumption_is_damaged_is_restored_all_the_same(
    plan: Plan, library: Library, tmp_path: Path, usage: str
) -> None:
    path = tmp_path / "run.db"
    (tmp_path / "broken").touch()
    with pytest.raises(RunError):
        run(plan, library, begin(path, plan, INPUTS))
    (tmp_path / "broken").unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE step SET usage = ?", (usage,))
    done = run(plan, library, resume(path), bounds=Bounds(joules=1e9))
    assert done.value == [True] * 4
