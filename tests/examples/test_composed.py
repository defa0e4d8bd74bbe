"""Compositions of the library in place of loops that are written out: each way to end is taken."""

from __future__ import annotations

from typing import Any

import pytest

import murakkab

from .scripted import CLUSTER, MODEL, Script, compiled, run_scripted

WRONG, RIGHT = "Ben is 20 steps ahead.\nAnswer: 20", "Ana is 10 seconds late.\nAnswer: 30"


def run(workflow: str, script: Script, **options: Any) -> tuple[murakkab.Run, list[str]]:
    return run_scripted("math_reflect", script, file="composed", workflow=workflow, **options)


def answering(*numbers: int) -> Script:
    """Return a script that gives these numbers in turn."""
    left = iter(numbers)
    return lambda prompt: {"result": next(left)}


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("workflow", ["reflected", "voted", "debated"])
def test_a_composition_compiles_at_every_level(workflow: str, level: int) -> None:
    for more in ({"cluster": CLUSTER}, {"endpoints": {MODEL: "http://h/v1"}}):
        plan = compiled("math_reflect", file="composed", workflow=workflow, level=level, **more)
        assert len(plan.steps) >= 2


@pytest.mark.parametrize(
    ("done", "requests"), [((True,), 2), ((False, True), 3), ((False,) * 3, 4)]
)
def test_reflection_revises_until_nothing_changes(done: tuple[bool, ...], requests: int) -> None:
    left = iter(done)

    def script(prompt: str) -> object:
        if "A draft of the answer" in prompt:
            return {"result": RIGHT, "done": next(left)}
        return WRONG

    found, prompts = run("reflected", script)
    assert found.result == RIGHT and len(prompts) == requests
    assert WRONG in prompts[1]
    assert all(RIGHT in prompt for prompt in prompts[2:])


@pytest.mark.parametrize(
    ("answers", "result"), [((30, 30, 30), 30), ((30, 20, 30, 20, 30), 30), ((1, 2, 3, 3, 4), 3)]
)
def test_a_vote_asks_on_only_where_the_first_three_differ(
    answers: tuple[int, ...], result: int
) -> None:
    found, prompts = run("voted", answering(*answers))
    assert found.result == result and len(prompts) == len(answers)


def test_a_debate_ends_where_all_agree() -> None:
    found, prompts = run("debated", answering(30, 30, 30))
    assert found.result == 30 and len(prompts) == 3


def test_a_debate_shows_everyone_the_answers_of_all() -> None:
    found, prompts = run("debated", answering(20, 30, 40, 30, 30, 40))
    assert found.result == 30 and len(prompts) == 6
    assert all("[20,30,40]" in prompt.replace(" ", "") for prompt in prompts[3:])
