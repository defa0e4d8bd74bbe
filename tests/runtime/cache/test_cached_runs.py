"""Runs with a cache: what is not done again, and what is done all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.runtime.cache.recalling import Cache
from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.journal.journal import begin, resume
from murakkab.runtime.media import Media
from murakkab.runtime.progress import RunEvent
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
def tell(x):
    note(f"tell {x}")
    return True
"""
INPUTS = {"xs": [1, 2, 3]}


def project(folder: Path, source: str, code: str, **names: str) -> tuple[Plan, Library]:
    """Return a plan and its library: the executors of `names`, with more lines for each."""
    folder.mkdir(exist_ok=True)
    (folder / "w.mkb").write_text(source)
    (folder / "code.py").write_text(code)
    path = folder / "library.toml"
    path.write_text(python_entries(file="code.py", **names))
    request = Request(source=folder / "w.mkb", target="local", libraries=(path,), level=0)
    plan = compile_workflow(request).plan
    return plan, load_named(plan.executors(), (path,))


def run(made: tuple[Plan, Library], inputs: dict[str, Any], **more: Any) -> RunResult:
    return asyncio.run(run_plan(made[0], inputs, library=made[1], **more))


def log(folder: Path) -> list[str]:
    """Return what was done, in no order; it is empty after that."""
    path = folder / "log"
    lines = sorted(path.read_text().splitlines()) if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def step(result: RunResult, name: str) -> dict[str, Any]:
    steps = result.record.document["steps"]
    return next(dict(step) for step in steps if step["step"] == name)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Library]:
    return project(tmp_path, SOURCE, CODE, first="", tell="")


def test_what_was_done_before_is_not_done_again_but_effects_are(
    made: tuple[Plan, Library], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    before = run(made, INPUTS, cache=cache)
    assert step(before, "y").get("cached") is None
    effects = ["tell 10", "tell 20", "tell 30"]
    assert log(tmp_path) == ["first 1", "first 2", "first 3", *effects]
    events: list[RunEvent] = []
    again = run(made, INPUTS, cache=cache, on_event=events.append, record=tmp_path / "run.json")
    assert log(tmp_path) == effects
    assert again.value == before.value
    entry = step(again, "y")
    assert (entry["calls"], entry["attempts"], entry["cached"]) == (3, 0, 3)
    assert "cached" not in step(again, "ok")
    kinds = [event.kind for event in events if event.step == "y"]
    assert kinds == ["cached"] * 3
    lines = list(again.record.calls("y"))
    assert [line["cached"] for line in lines] == [True] * 3


def test_only_items_that_are_new_are_done(made: tuple[Plan, Library], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    run(made, INPUTS, cache=cache)
    log(tmp_path)
    run(made, {"xs": [3, 4]}, cache=cache)
    assert log(tmp_path) == ["first 4", "tell 30", "tell 40"]


def test_failed_calls_are_not_kept(made: tuple[Plan, Library], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "broken").touch()
    with pytest.raises(RunError):
        run(made, {"xs": [3]}, cache=cache)
    (tmp_path / "broken").unlink()
    log(tmp_path)
    run(made, {"xs": [3]}, cache=cache)
    assert log(tmp_path) == ["first 3", "tell 30"]


def test_other_code_is_another_executor(made: tuple[Plan, Library], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    run(made, {"xs": [1]}, cache=cache)
    log(tmp_path)
    other = project(tmp_path, SOURCE, CODE.replace("10 * x", "20 * x"), first="", tell="")
    run(other, {"xs": [1]}, cache=cache)
    assert log(tmp_path) == ["first 1", "tell 20"]


def test_a_journal_keeps_what_the_cache_had(made: tuple[Plan, Library], tmp_path: Path) -> None:
    cache, path = Cache(tmp_path / "cache"), tmp_path / "run.db"
    run(made, INPUTS, cache=cache)
    log(tmp_path)
    journal = begin(path, made[0], INPUTS)
    run(made, INPUTS, cache=cache, journal=journal)
    log(tmp_path)
    again = run(made, INPUTS, journal=resume(path))
    assert log(tmp_path) == []
    assert step(again, "y")["restored"] == 3


def test_a_run_that_is_taken_up_asks_the_journal_and_then_the_cache(
    made: tuple[Plan, Library], tmp_path: Path
) -> None:
    cache, path = Cache(tmp_path / "cache"), tmp_path / "run.db"
    run(made, {"xs": [3]}, cache=cache)
    (tmp_path / "broken").touch()
    journal = begin(path, made[0], {"xs": [1, 3]})
    with pytest.raises(RunError):
        run(made, {"xs": [1, 3]}, journal=journal)
    log(tmp_path)
    again = run(made, {"xs": [1, 3]}, journal=resume(path), cache=cache)
    assert not [line for line in log(tmp_path) if line.startswith("first")]
    entry = step(again, "y")
    assert (entry["restored"], entry["cached"]) == (1, 1)


def test_media_count_by_content(tmp_path: Path) -> None:
    source = """task look(picture: Image) -> Image "Looks."
workflow w(picture: Image) -> Image {
    seen = look(picture)
    return seen
}
"""
    code = """
from pathlib import Path
from murakkab.runtime.media import Media
def look(picture):
    with Path(__file__).with_name("log").open("a") as file:
        file.write("look\\n")
    return Media("image", data=picture.read() + b"!")
"""
    made, cache = project(tmp_path, source, code, look=""), Cache(tmp_path / "cache")
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"one")
    one, same = (Media("image", path=str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert run(made, {"picture": one}, cache=cache).value.data == b"one!"
    assert run(made, {"picture": same}, cache=cache).value.data == b"one!"
    assert log(tmp_path) == ["look"]
    (tmp_path / "b.png").write_bytes(b"other")
    assert run(made, {"picture": same}, cache=cache).value.data == b"other!"
    assert log(tmp_path) == ["look"]


def test_what_a_reader_changes_is_not_kept_changed(tmp_path: Path) -> None:
    source = """task make(x: Int) -> [Int] "Makes."
task spoil(xs: [Int]) -> Int "Spoils."
workflow w(x: Int) -> Int {
    xs = make(x)
    n  = spoil(xs)
    return n
}
"""
    code = """
def make(x):
    return [x, x]
def spoil(xs):
    xs.clear()
    return len(xs)
"""
    made, cache = project(tmp_path, source, code, make="", spoil=""), Cache(tmp_path / "cache")
    run(made, {"x": 1}, cache=cache)
    again = run(made, {"x": 1}, cache=cache, record=tmp_path / "run.json")
    (line,) = again.record.calls("xs")
    assert again.record.value(line["result"]) == [1, 1]


@pytest.mark.parametrize("asked", [False, True])
def test_draws_are_kept_only_where_that_is_asked_for(tmp_path: Path, asked: bool) -> None:
    sampled = "settings = { temperature = 0.7 }"
    made = project(tmp_path, SOURCE, CODE, first=sampled, tell="")
    cache = Cache(tmp_path / "cache", sampled=asked)
    run(made, {"xs": [1, 1]}, cache=cache)
    assert log(tmp_path).count("first 1") == 2  # two draws, also where they are kept
    run(made, {"xs": [1, 1]}, cache=cache)
    assert log(tmp_path).count("first 1") == (0 if asked else 2)


def test_an_entry_that_is_damaged_is_made_again(made: tuple[Plan, Library], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    run(made, INPUTS, cache=cache)
    log(tmp_path)
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-2] + b"9}")
    again = run(made, INPUTS, cache=cache)
    assert [line for line in log(tmp_path) if "first" in line] == ["first 1", "first 2", "first 3"]
    assert again.value == [True] * 3
    run(made, INPUTS, cache=cache)
    assert all("first" not in line for line in log(tmp_path))


def test_a_place_that_cannot_be_written_is_told_of_once(
    made: tuple[Plan, Library], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("no folder")
    told: list[str] = []
    result = run(made, INPUTS, cache=Cache(tmp_path / "cache", tell=told.append))
    assert result.value == [True] * 3
    (line,) = told
    assert line.startswith(f"results are not kept in `{tmp_path / 'cache'}`: ")
