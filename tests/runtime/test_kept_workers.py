"""Workers that outlive a run: what they started is used again, and ended in the end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from murakkab.runtime.driver import run_plan
from murakkab.runtime.errors import RunError
from murakkab.runtime.kept import KeptWorkers

from .conftest import MakeLibrary, MakePlan

# two steps in one process, of which the second may take the value where it is
CHAIN = """module placed
task @make(%x: Int) -> [Int]
task @take(%made: [Int]) -> [Int]
engine @a
engine @b
workflow @w(%xs: [Int]) -> [[Int]]
{
  %ys = map(%xs) { ^(%x: Int)
    %made = invoke @make(%x) {chain = 1, engine = @a, executor = @make} : [Int]
    %y = invoke @take(%made) {chain = 1, engine = @b, executor = @take} : [Int]
    yield(%y)
  } : [[Int]]
  return(%ys)
}
"""
CODE = """
import os
def make(x):
    if x < 0: raise ValueError("negative")
    if x == 99: os._exit(1)
    return [x, os.getpid()]
def take(made):
    return made
"""


def alive(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


@pytest.mark.parametrize("pooling", ["process", "thread"])
def test_the_next_run_finds_the_processes_of_the_last(
    make_plan: MakePlan, make_library: MakeLibrary, pooling: str
) -> None:
    library = make_library(CODE, make={"pooling": pooling}, take={"pooling": pooling})
    plan = make_plan(CHAIN)

    async def runs() -> list[set[int]]:
        kept, found = KeptWorkers(), []
        for start in (0, 10, 20):
            xs = list(range(start, start + 5))
            done = await run_plan(plan, {"xs": xs}, library=library, kept=kept)
            assert [x for x, _ in done.value] == xs
            found.append({pid for _, pid in done.value})
        assert all(map(alive, set().union(*found)))
        await kept.close()
        return found

    found = asyncio.run(runs())
    every = set().union(*found)
    if pooling == "thread":
        assert every == {os.getpid()}
        return
    assert len(every) <= 2 and os.getpid() not in every
    assert not any(map(alive, every))


def test_a_run_that_fails_leaves_the_next_one_well(
    make_plan: MakePlan, make_library: MakeLibrary
) -> None:
    process = {"pooling": "process"}
    library = make_library(CODE, make=process, take=process)
    plan = make_plan(CHAIN)

    async def runs() -> None:
        kept = KeptWorkers()
        for wrong in (-1, 99):
            with pytest.raises(RunError):
                await run_plan(plan, {"xs": [1, wrong, 2, 3]}, library=library, kept=kept)
            done = await run_plan(plan, {"xs": [4, 5, 6]}, library=library, kept=kept)
            assert [x for x, _ in done.value] == [4, 5, 6]
        await kept.close()

    asyncio.run(runs())
