"""A path that is known only when it runs: the models are scripted, the sandbox is the real one."""

from __future__ import annotations

import pytest

from murakkab.runtime.executors.sandbox import unavailable

from .scripted import CODE_TOOLS, Script, calls, run_scripted

pytestmark = pytest.mark.skipif(
    unavailable() is not None, reason=f"no isolation on this machine: {unavailable()}"
)
RIGHT = """```python
def merged(spans):
    kept = []
    for first, last in sorted(spans):
        if kept and first <= kept[-1][1] + 1:
            kept[-1] = (kept[-1][0], max(kept[-1][1], last))
        else:
            kept.append((first, last))
    return kept
```"""
HASTY = RIGHT.replace(" + 1:", ":")
ADVICE = "Spans that follow each other without a day between become one."


def writers(repaired: object, reviewer: str = ADVICE) -> Script:
    """Return a script whose first writer is hasty, and whose others answer by the prompt."""

    def script(prompt: str) -> object:
        if "Write no program" in prompt:
            return reviewer
        if "fails its tests" not in prompt:
            return HASTY
        assert callable(repaired)
        return repaired(prompt)

    return script


def test_a_first_program_that_passes_is_the_only_one() -> None:
    run, prompts = run_scripted("dynamic_coding", lambda _: RIGHT, library=(CODE_TOOLS,))
    assert run.result["passed"] and len(prompts) == 1
    assert sum(calls(run).values()) == 3  # write, take the code out, test


def test_writers_stop_in_the_round_in_which_one_passes() -> None:
    script = writers(lambda prompt: RIGHT if "another algorithm" in prompt else HASTY)
    run, prompts = run_scripted("dynamic_coding", script, library=(CODE_TOOLS,))
    assert run.result["passed"] and "+ 1:" in run.result["program"]
    assert len(prompts) == 4
    assert all("assert merged([(1, 3), (4, 6)])" in prompt for prompt in prompts[1:])
    assert calls(run)["advice"] == 0  # the requirement leaves room to do without


def test_accuracy_that_needs_the_reviewer_gets_one() -> None:
    script = writers(lambda prompt: RIGHT if ADVICE in prompt else HASTY)
    run, prompts = run_scripted(
        "dynamic_coding", script, library=(CODE_TOOLS,), require=("accuracy >= 0.99",)
    )
    assert run.result["passed"] and len(prompts) == 5
    assert calls(run)["advice"] == 1


def test_writers_who_never_pass_end_after_three_rounds_with_what_fails() -> None:
    script = writers(lambda _: "I cannot do this.")
    run, prompts = run_scripted("dynamic_coding", script, library=(CODE_TOOLS,))
    assert not run.result["passed"] and "SyntaxError" in run.result["report"]
    assert len(prompts) == 10 and calls(run)["outcome"] == 9


def test_a_second_round_is_about_the_best_of_the_first() -> None:
    def repaired(prompt: str) -> str:
        if "x for x in spans" in prompt:
            return RIGHT
        return "```python\ndef merged(spans):\n    return sorted(x for x in spans)\n```"

    run, prompts = run_scripted("dynamic_coding", writers(repaired), library=(CODE_TOOLS,))
    assert run.result["passed"] and len(prompts) == 7


@pytest.mark.parametrize("level", [0, 1])
def test_every_level_gives_the_same_program(level: int) -> None:
    """The reference runs the reviewer, whose advice these writers do not need."""
    script = writers(lambda prompt: RIGHT if "another algorithm" in prompt else HASTY)
    optimised, _ = run_scripted("dynamic_coding", script, library=(CODE_TOOLS,))
    run, prompts = run_scripted("dynamic_coding", script, library=(CODE_TOOLS,), level=level)
    assert run.result == optimised.result
    assert len(prompts) == 5 and calls(run)["advice"] == 1
