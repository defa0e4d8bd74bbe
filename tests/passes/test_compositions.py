"""Compositions in calls: what each costs, counts and gives, in ordinary operations."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.ir.diagnostics import CompileError
from murakkab.ir.ops import Op
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.remarks import Remarks
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module
from murakkab.passes.bind import Bind
from murakkab.passes.canonicalize import Canonicalize
from murakkab.passes.choose import Choose
from murakkab.passes.compositions.proposing import composed
from murakkab.passes.fuse import Fuse
from murakkab.passes.hoist import Hoist
from murakkab.passes.pushdown import Pushdown

from .interpreter import interpret
from .worlds import A100, flow, world

CASCADE = """[[executor]]
name = "three"
kind = "composition"
composition = "cascade"
description = "small, then middle, then large"
members = ["llama-3.1-8b", "gemma-3-27b", "llama-3.1-70b"]
knobs = { threshold = [0.5, 0.8] }
escalates = [[0.5, 0.25], [0.8, 0.5]]
[executor.quality]
value = 0.99
metric = "relative"
source = "us"
factors = { threshold = [[0.5, 0.9], [0.8, 1.0]] }

[[executor]]
name = "measured-vote"
kind = "composition"
composition = "vote"
description = "agrees most of the time"
knobs = { votes = [5] }
agrees = 0.6
[executor.quality]
value = 1.02
metric = "relative"
source = "us"
"""


def bound(pins: str, *libraries: Path, result: str = "Int") -> Module:
    text = f"""
task solve(q: Text) -> {result}
    prompt "Solve: {{q}}"
workflow w(q: Text) -> {result}
    expect tokens(solve) = 40
{{
    a = solve(q) with {{ {pins} }}
    return a
}}
"""
    module = Bind().run(flow(text), world(A100, *libraries))
    verify(module)
    return module


def calls(module: Module) -> dict[str, Op]:
    return {op.out().name: op for op in module.sole().calls()}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "lib.toml"
    path.write_text(CASCADE)
    return path


@pytest.mark.parametrize(
    "pins",
    [
        'executor: "vote", votes: 5',
        'executor: "self-reflection"',
        'executor: "debate"',
        'executor: "cascade"',
        'executor: "verified-cascade"',
    ],
)
@pytest.mark.parametrize("result", ["Int", "Text", "{a: Int, b: Text}"])
def test_what_is_made_is_valid_stays_so_and_can_be_written_down(pins: str, result: str) -> None:
    module = bound(pins, result=result)
    assert read_module(print_module(module)) == module
    for step in (Canonicalize(), Hoist(), Pushdown(), Fuse()):
        module = step.run(module, world(A100))
        verify(module)
    assert interpret(module, {"q": "x"}).calls


def test_a_named_cascade_counts_the_last_alone_and_knows_how_many_go_on(mine: Path) -> None:
    module = bound('executor: "three", threshold: 0.5', mine)
    first, second, last = calls(module).values()
    candidates = [op.attr("candidates") for op in (first, second, last)]
    assert [list(map(str, c)) for c in candidates if isinstance(c, tuple)] == [
        ["llama-3.1-8b"],
        ["gemma-3-27b"],
        ["llama-3.1-70b"],
    ]
    assert [op.number("weight", 1.0) for op in (first, second, last)] == [0.0, 0.0, 1.0]
    assert last.attr("factor") == pytest.approx(0.99 * 0.9)
    likely = [op.attr("likely") for op in module.sole().walk() if op.kind == "if"]
    assert likely == [0.75, 0.75]
    assert module.sole().expectations[-1].fact == "tokens(solve_scored)"


def test_the_first_setting_is_taken_where_pins_leave_several(mine: Path) -> None:
    module = bound('executor: "three", threshold >= 0.4', mine)
    assert {op.attr("value") for op in module.sole().walk() if op.kind == "const"} == {0.5}


def test_a_vote_asks_a_majority_first_and_its_weights_add_up(mine: Path) -> None:
    module = bound('executor: "measured-vote"', mine)
    votes, extras = calls(module).values()
    assert votes.number("weight", 1.0) + extras.number("weight", 1.0) == pytest.approx(1.0)
    assert votes.attr("factor") == 1.02 and extras.attr("factor") is None
    assert votes.flag("sampled") and extras.flag("sampled")
    (chosen,) = (op for op in module.sole().walk() if op.kind == "if")
    assert chosen.attr("likely") == 0.6
    counts = interpret(module, {"q": "x"}).calls["solve"]
    assert counts in (3, 5)


def test_pins_of_members_hold_for_all_their_calls() -> None:
    module = bound('executor: "verified-cascade", max_tokens: 50')
    assert {op.attr("pin.max_tokens") for op in calls(module).values()} == {"= 50"}
    assert all(op.attr("pin.executor") is None for op in calls(module).values())


def test_members_that_are_not_there_are_named(mine: Path) -> None:
    with pytest.raises(CompileError) as caught:
        bound('executor: "three", device: cpu', mine)
    (finding,) = caught.value.diagnostics
    assert finding.id == "unsatisfiable-pin"
    assert re.search("no member of `three` satisfies `device: cpu`", finding.message)


# ---- those that nobody pinned


def proposals(text: str, *libraries: Path) -> list[str]:
    context = world(A100, *libraries)
    return [p.name for p in composed(Bind().run(flow(text), context), context)]


PROGRAM = """
task solve(q: Text) -> Int
    prompt "Solve: {q}"
workflow w(q: Text) -> Int
    GOAL
{
    a = solve(q)PINS
    return a
}
"""


def test_what_is_known_to_gain_is_proposed_at_each_setting(mine: Path) -> None:
    assert proposals(PROGRAM.replace("PINS", "").replace("GOAL", "minimize cost"), mine) == [
        "`a` is carried out by `three{threshold = 0.5}`",
        "`a` is carried out by `three{threshold = 0.8}`",
        "`a` is carried out by `measured-vote{votes = 5}`",
    ]


def test_shipped_ones_are_not_as_nobody_has_measured_them() -> None:
    assert not proposals(PROGRAM.replace("PINS", "").replace("GOAL", "minimize cost"))


def test_a_pinned_executor_is_the_authors_choice(mine: Path) -> None:
    pinned = PROGRAM.replace("PINS", ' with { executor: "llama-3.1-8b" }')
    assert not proposals(pinned.replace("GOAL", "minimize cost"), mine)


def test_parts_of_a_composition_are_left_alone(mine: Path) -> None:
    module = bound('executor: "measured-vote"', mine)
    assert dict(module.attrs)["composed.a_vote"] == "measured-vote{votes = 5}"
    assert not list(composed(module, world(A100, mine)))


@pytest.mark.parametrize(("goal", "taken"), [("maximize accuracy", True), ("minimize cost", False)])
def test_one_is_taken_where_it_pays(goal: str, taken: bool, mine: Path) -> None:
    context = world(A100, mine)
    text = PROGRAM.replace("PINS", "").replace("GOAL", goal)
    remarks = Remarks()
    after = Choose().run(Bind().run(flow(text), context), replace(context, remarked=remarks))
    verify(after)
    assert any(key.startswith("composed.a_vote") for key, _ in after.attrs) == taken
    (vote,) = (r for r in remarks.all() if "measured-vote" in r.text)
    assert vote.applied == taken
    metric = "accuracy 1.02, 1 without it" if taken else "cost $"
    assert metric in vote.text
