"""What every structural pass must keep: the IR's rules, results, effects, and no call more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import assume, note
from hypothesis import strategies as st

from murakkab.ir.printer import print_module
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module
from murakkab.passes.base import Context, Pass
from murakkab.targets.cluster import Cluster
from murakkab.targets.costmodel import ProfileCostModel
from murakkab.targets.library import Executor, Library, Quality
from murakkab.targets.profiles import load_profiles

from .interpreter import Fails, Trace, interpret

TOOL = Executor(
    "tool", "generate", "", "python", ("cpu",), Quality(1.0, "relative", "declared for a test")
)
LIBRARY = Library((TOOL, replace(TOOL, name="model", runner="vllm")), "")

arguments = st.fixed_dictionaries(
    {
        "q": st.sampled_from(("", "what?")),
        "xs": st.lists(st.sampled_from(("", "x", "yy")), max_size=3),
        "flag": st.booleans(),
    }
)


def context() -> Context:
    """Return a context with two executors and no machines: structural passes ask for no more."""
    costs = ProfileCostModel(load_profiles(()))
    return Context((), LIBRARY, Cluster("none", ()), costs, frozenset({"python", "vllm"}))


def holds(step: Pass, module: Module, given: dict[str, object]) -> None:
    """Check a pass on one module: valid, idempotent, the same result and effects, no more calls."""
    world = context()
    note(print_module(module, brief=True))
    after = step.run(module, world)
    note(print_module(after, brief=True))
    verify(after)
    assert step.run(after, world) == after
    same_meaning(module, after, given)


def same_meaning(before: Module, after: Module, given: dict[str, object]) -> None:
    """Check that a rewritten module does what the module did, where that does not fail."""
    try:
        expected = interpret(before, given)
    except ArithmeticError:
        assume(False)
    found = interpret(after, given)
    assert repr(found.result) == repr(expected.result)
    assert found.effects == expected.effects
    assert found.calls <= expected.calls


def failing(seed: int | None) -> Fails:
    """Return which calls fail: one in sixteen, drawn by the seed, or none without one."""
    return lambda call: (
        seed is not None and hashlib.sha256(f"{seed}{call}".encode()).digest()[0] % 16 == 0
    )


def same(expected: Trace, found: Trace) -> None:
    """Check results and effects of a run by those of an unoptimised one.

    What only fed work that nobody reads may be gone, and its failure with it.
    """
    if expected.failure is None:
        assert found.failure is None
        assert repr(found.result) == repr(expected.result)
        assert found.effects == expected.effects
    else:
        assert begins(found.effects, expected.effects) or begins(expected.effects, found.effects)


def begins(first: Sequence[object], whole: Sequence[object]) -> bool:
    return list(whole[: len(first)]) == list(first)
