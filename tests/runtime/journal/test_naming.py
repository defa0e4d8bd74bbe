"""Runs that left items out are taken up: what was done for a short list stands elsewhere then."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from murakkab.runtime.driver import RunResult, run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.journal.journal import begin, resume
from murakkab.runtime.journal.naming import step_of
from murakkab.targets.library import Library
from murakkab.targets.plan import Plan

from .test_journal import project

SOURCE = """task check(x: Int) -> Int "Some work."
task total(xs: [Int]) -> Int "Adds."
effect task tell(x: Int) -> Int "Tells somebody."

workflow w(xs: [Int]) -> [Int] {
    good   = for x in xs { yield check(x) }
    longer = good + [1000, 1000]
    sum    = total(longer)
    told   = for y in longer {
        t = tell(y)
        yield t
    }
    return told + [sum]
}
"""
CODE = """
import json
from pathlib import Path
HERE = Path(__file__).parent
def bad(name):
    return json.loads((HERE / name).read_text())
def note(line):
    with (HERE / "log").open("a") as file:
        file.write(line + "\\n")
def check(x):
    if x in bad("broken"):
        raise ValueError(x)
    return 10 * x
def total(xs):
    return sum(xs)
def tell(x, *, idempotency_key=None):
    note(f"tell {x} {idempotency_key}")
    if x in bad("refused"):
        raise ValueError(x)
    return x + 1
"""


def made(folder: Path, extra: str = "") -> tuple[Plan, Library]:
    return project(folder, SOURCE, CODE, check="", total="", tell=extra)


def ails(folder: Path, broken: list[int], refused: list[int] | None = None) -> None:
    (folder / "broken").write_text(repr(broken))
    (folder / "refused").write_text(repr(refused or []))


def run(
    plan: Plan, library: Library, path: Path, xs: list[int], keep_going: bool = False
) -> RunResult:
    journal = resume(path) if path.exists() else begin(path, plan, {"xs": xs})
    return asyncio.run(
        run_plan(plan, {"xs": xs}, library=library, journal=journal, keep_going=keep_going)
    )


def told(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / "log").read_text().splitlines()
    return [(int(x), key) for _, x, key in map(str.split, lines)]


def expected(xs: list[int]) -> list[int]:
    longer = [*(10 * x for x in xs), 1000, 1000]
    return [*(y + 1 for y in longer), sum(longer)]


def test_what_follows_a_list_with_gaps_is_not_taken_for_something_else(tmp_path: Path) -> None:
    plan, library = made(tmp_path)
    ails(tmp_path, [2])
    first = run(plan, library, tmp_path / "run.db", [1, 2, 3], keep_going=True)
    assert first.value == expected([1, 3]) and first.lost_items == 1
    ails(tmp_path, [])
    again = run(plan, library, tmp_path / "run.db", [1, 2, 3], keep_going=True)
    assert again.value == expected([1, 2, 3])
    assert Counter(x for x, _ in told(tmp_path)) == {10: 1, 20: 1, 30: 1, 1000: 2}
    assert len({key for _, key in told(tmp_path)}) == 5  # each a key of its own


@pytest.mark.parametrize("seed", range(12))
def test_any_items_fail_in_any_run_and_no_effect_is_lost_or_done_twice(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    plan, library = made(tmp_path)
    xs = [chance.randrange(1, 6) for _ in range(chance.randrange(1, 9))]
    for _ in range(chance.randrange(1, 4)):
        ails(tmp_path, [x for x in range(1, 6) if chance.random() < 0.4])
        run(plan, library, tmp_path / "run.db", xs, keep_going=True)
    ails(tmp_path, [])
    done = run(plan, library, tmp_path / "run.db", xs)
    assert done.value == expected(xs) and not done.lost_items
    assert Counter(x for x, _ in told(tmp_path)) == Counter([*(10 * x for x in xs), 1000, 1000])


def test_an_effect_behind_a_gap_that_is_in_doubt_stays_so(tmp_path: Path) -> None:
    plan, library = made(tmp_path)
    path = tmp_path / "run.db"
    ails(tmp_path, [1], [30])
    with pytest.raises(RunError) as caught:
        run(plan, library, path, [1, 2, 3], keep_going=True)
    (doubt,) = caught.value.in_doubt
    assert step_of(doubt) == "t" and f"--settle '{doubt}=RESULT'" in str(
        caught.value.failures[0].help
    )
    ails(tmp_path, [])
    with pytest.raises(RunError, match="nobody can tell here whether it happened") as caught:
        run(plan, library, path, [1, 2, 3])
    assert caught.value.in_doubt == (doubt,)
    assert caught.value.failures[0].instance == "t[2]"  # where it stands now
    journal = resume(path)
    journal.settle(doubt, 31, again=False)
    journal.end()
    assert run(plan, library, path, [1, 2, 3]).value == expected([1, 2, 3])
    assert Counter(x for x, _ in told(tmp_path)) == {20: 1, 30: 1, 10: 1, 1000: 2}


def test_an_idempotent_effect_behind_a_gap_keeps_its_key(tmp_path: Path) -> None:
    plan, library = made(tmp_path, "idempotent = true")
    ails(tmp_path, [1], [30])
    with pytest.raises(RunError):
        run(plan, library, tmp_path / "run.db", [1, 2, 3], keep_going=True)
    ails(tmp_path, [])
    run(plan, library, tmp_path / "run.db", [1, 2, 3])
    keys = [key for x, key in told(tmp_path) if x == 30]
    assert len(keys) >= 2 and len(set(keys)) == 1
