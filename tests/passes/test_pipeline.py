"""Pipelines: the structural passes together keep the meaning; their text form round-trips."""

import pytest
from hypothesis import given, note, settings

from murakkab.ir.diagnostics import InputError
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.remarks import Remark
from murakkab.ir.workflow import Module
from murakkab.passes.base import Context, Pass
from murakkab.passes.pipeline import (
    LEVELS,
    PassFailure,
    parse_pipeline,
    print_pipeline,
    run_pipeline,
)

from ..ir.modules import modules
from .properties import arguments, context, same_meaning

STRUCTURAL = "canonicalize,hoist,fuse,canonicalize"


@settings(deadline=None)
@given(modules(), arguments)
def test_structural_passes_together_keep_the_meaning(
    module: Module, given: dict[str, object]
) -> None:
    note(print_module(module, brief=True))
    same_meaning(module, run_pipeline(module, parse_pipeline(STRUCTURAL), context()), given)


@pytest.mark.parametrize(
    "text",
    [*LEVELS.values(), "", "fuse{maps=false}", "fuse{maps=false, tools=false},canonicalize"],
)
def test_text_form_round_trips(text: str) -> None:
    passes = parse_pipeline(text)
    assert print_pipeline(passes) == text
    assert parse_pipeline(print_pipeline(passes)) == passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("canonicalise", "no pass is named `canonicalise`"),
        ("fuse{map=true}", "pass `fuse` has no option `map`"),
        ("fuse{maps=3}", "option `maps` of pass `fuse` wants a bool, not `3`"),
        ("fuse,", "the pipeline ends in a comma"),
        ("fuse}", "cannot read the pipeline at `fuse}`"),
    ],
)
def test_faults_of_the_text_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pipeline(text)
    assert caught.value.diagnostics[0].message == message


SMALL = read_module("module flow workflow @w(%q: Text) -> Text { return(%q) }")


def test_observer_sees_each_pass_once() -> None:
    seen: list[str] = []

    def observe(
        step: Pass, before: Module, after: Module, seconds: float, remarks: tuple[Remark, ...]
    ) -> None:
        seen.append(step.name)

    run_pipeline(SMALL, parse_pipeline(STRUCTURAL), context(), observe)
    assert seen == STRUCTURAL.split(",")


class _Breaks(Pass):
    name = "breaks"

    def run(self, module: Module, context: Context) -> Module:
        workflow = module.sole()
        return module.with_workflow(type(workflow)("w", (), workflow.result, workflow.body))


def test_a_pass_that_breaks_a_rule_leaves_a_reproducer() -> None:
    with pytest.raises(PassFailure) as caught:
        run_pipeline(SMALL, (_Breaks(),), context())
    assert read_module(caught.value.reproducer) == SMALL
    assert caught.value.reproducer.startswith("// RUN: mkb opt --passes 'breaks' %s\n")
