"""Coders and testers debate: the models are scripted, the tests run in the real sandbox."""

from __future__ import annotations

import pytest

from murakkab.runtime.executors.sandbox import unavailable

from .scripted import CODE_TOOLS, Script, calls, inputs, run_scripted

pytestmark = pytest.mark.skipif(
    unavailable() is not None, reason=f"no isolation on this machine: {unavailable()}"
)
TESTERS = "You are a tester"
RIGHT = """Times wrap around at midnight:
```python
def minutes_until(now, then):
    first, last = (60 * int(t[:2]) + int(t[3:]) for t in (now, then))
    return (last - first - 1) % 1440 + 1
```
"""
# equal times are a whole day apart: this says 0
CARELESS = RIGHT.replace("(last - first - 1) % 1440 + 1", "(last - first) % 1440")
SOUND = "```python\nassert minutes_until('00:00', '23:59') == 1439\n```"
MISTAKEN = "```python\nassert minutes_until('00:00', '00:00') == 0\n```"


def said_by(coders: Script, testers: Script) -> Script:
    """Return a script that lets coders and testers answer by their own."""
    return lambda prompt: (testers if TESTERS in prompt else coders)(prompt)


def later(prompt: str) -> bool:
    """Whether a prompt shows an earlier round."""
    return "Report:" in prompt


def test_a_debate_ends_with_the_round_in_which_all_agree() -> None:
    script = said_by(lambda _: RIGHT, lambda _: SOUND)
    run, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,))
    assert run.result["passed"] and run.result["agreed"] == 2
    assert run.result["program"].startswith("def minutes_until")
    assert len(prompts) == 4 and not any(map(later, prompts))
    assert calls(run)["check"] == 4


def test_a_second_round_sees_programs_tests_and_reports_of_the_first() -> None:
    script = said_by(lambda prompt: RIGHT if later(prompt) else CARELESS, lambda _: SOUND)
    run, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,))
    assert run.result["passed"] and run.result["agreed"] == 2
    assert len(prompts) == 8
    for prompt in prompts[4:]:
        assert "return (last - first) % 1440" in prompt
        assert "AssertionError" in prompt
        assert "minutes_until('00:00', '23:59') == 1439" in prompt


def test_a_tester_who_was_wrong_is_heard_and_corrects_himself() -> None:
    script = said_by(lambda _: RIGHT, lambda prompt: SOUND if later(prompt) else MISTAKEN)
    run, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,))
    assert run.result["agreed"] == 2 and len(prompts) == 8


def test_a_debate_that_finds_nothing_ends_after_four_rounds_with_its_best() -> None:
    script = said_by(lambda asked: CARELESS if "shortest" in asked else "No.", lambda _: SOUND)
    run, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,))
    assert not run.result["passed"] and len(prompts) == 16
    assert "% 1440" in run.result["program"] and "AssertionError" in run.result["report"]
    assert calls(run)["best"] == 4


@pytest.mark.parametrize("level", [0, 1])
def test_every_level_asks_the_same(level: int) -> None:
    script = said_by(lambda prompt: RIGHT if later(prompt) else CARELESS, lambda _: SOUND)
    optimised, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,))
    run, asked = run_scripted("code_debate", script, library=(CODE_TOOLS,), level=level)
    assert run.result == optimised.result
    assert sorted(asked) == sorted(prompts)


def test_one_coder_without_testers_is_a_loop_over_the_problems_own_tests() -> None:
    changes = {"coders": inputs("code_debate")["coders"][:1], "testers": []}
    script = said_by(lambda prompt: RIGHT if later(prompt) else CARELESS, lambda _: SOUND)
    run, prompts = run_scripted("code_debate", script, library=(CODE_TOOLS,), changes=changes)
    assert run.result["passed"] and len(prompts) == 2
