"""Reflection until confident: the model is scripted, so that each way to end is taken."""

from __future__ import annotations

import json
import re
import runpy

import pytest

from .scripted import EXAMPLES, Script, calls, run_scripted

FOLDER = EXAMPLES / "math_reflect"
RATING = "How confident are you"
WRONG = "Ben is 20 steps ahead.\nAnswer: 20"
RIGHT = "Ana gains 1 step a second on Ben's 20.\nAnswer: 30"
CRITIQUE = "The 10 seconds of Ben's lead are left out."


def reflecting(*confidence: str) -> Script:
    """Return a script that is wrong until it has read the critique, and as confident as told."""
    ratings = iter(confidence)

    def script(prompt: str) -> object:
        if RATING in prompt:
            return {"result": next(ratings)}
        if "Check each step" in prompt:
            return CRITIQUE
        return RIGHT if CRITIQUE in prompt else WRONG

    return script


def test_a_confident_first_solution_ends_it() -> None:
    run, prompts = run_scripted("math_reflect", reflecting("high"))
    assert run.result == {"solution": WRONG, "critique": CRITIQUE, "confidence": "high"}
    assert len(prompts) == 3


def test_a_doubtful_solution_is_improved_by_its_critique() -> None:
    run, prompts = run_scripted("math_reflect", reflecting("low", "high"))
    assert run.result["solution"] == RIGHT and run.result["confidence"] == "high"
    assert len(prompts) == 6
    again = prompts[3]
    assert WRONG in again and CRITIQUE in again
    # the other two of the second round are about the new solution alone
    assert all(RIGHT in prompt and WRONG not in prompt for prompt in prompts[4:])


def test_confidence_that_never_comes_ends_with_the_rounds_and_is_told() -> None:
    run, prompts = run_scripted("math_reflect", reflecting(*["medium"] * 3, "low"))
    assert run.result["solution"] == RIGHT and run.result["confidence"] == "low"
    assert len(prompts) == 12
    assert set(calls(run).values()) == {4}


@pytest.mark.parametrize("level", [0, 1])
def test_every_level_asks_the_same(level: int) -> None:
    optimised = run_scripted("math_reflect", reflecting("low", "high"))
    plain = run_scripted("math_reflect", reflecting("low", "high"), level=level)
    assert plain[0].result == optimised[0].result
    assert plain[1] == optimised[1]


def test_solutions_are_scored_by_their_last_answer() -> None:
    score = runpy.run_path(str(FOLDER / "scoring.py"))["same_number"]
    for answer, expected in {
        "Answer: 30": 1.0,
        "Answer: 20? No.\n**Answer:** 30": 1.0,
        "answer: 30.0": 1.0,
        "Answer: 3,0": 1.0,
        "Answer: 300": 0.0,
        "30": 0.0,
        "": 0.0,
    }.items():
        assert score({"solution": answer}, "30") == expected, answer


def test_the_dataset_asks_different_questions_with_one_number_each() -> None:
    lines = (FOLDER / "questions.jsonl").read_text("utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    assert len({item["question"] for item in items}) == len(items) == 12
    assert all(re.fullmatch(r"\d+", item["expected"]) for item in items)
