"""Substitutes in plans: who stands by for whom, and who may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from murakkab.cli.explain import explained
from murakkab.compiler.driver import Request, compile_workflow
from murakkab.targets.plan import Plan, plan_from_json

HOSTED = """
[[executor]]
name = "{name}"
implements = "generate"
description = "A model that somebody hosts"
runner = "openai"
model = "{name}"
quality = {{ value = {quality}, metric = "m", source = "s" }}
price = {{ usd_per_mtok_prompt = {usd}, usd_per_mtok_output = {usd} }}
work = {{ prompt_tokens = "tokens(prompt)", output_tokens = 10 }}
settings = {{ url = "http://127.0.0.1:9/{name}" }}
"""
ONE = """task mood(text: Text) -> Text prompt "The mood of {text}?"
workflow w(text: Text) -> Text
{
    return mood(text)
}
"""
TWO = """task mood(text: Text) -> Text prompt "The mood of {text}?"
workflow w(text: Text) -> Text
{
    one = mood(text) with { executor: "dear" }
    return mood(one)
}
"""


def planned(folder: Path, text: str, *, level: int = 2, clause: str = "", **usd: float) -> Plan:
    """Compile for hosted models by name, each a tenth worse than the one before."""
    file = folder / "w.mkb"
    file.write_text(text.replace("\n{", f"\n    {clause}\n{{", 1) if clause else text)
    library = folder / "library.toml"
    entries = enumerate(usd.items())
    library.write_text(
        "".join(HOSTED.format(name=n, quality=1.0 - i / 10, usd=u) for i, (n, u) in entries)
    )
    request = Request(source=file, target="vllm", libraries=(library,), level=level, failover=True)
    return compile_workflow(request).plan


def told(plan: Plan) -> list[str]:
    return [
        f"{'did' if remark.applied else 'not'}: {remark.text}"
        for remark in plan.remarks
        if remark.rewrite == "substitute"
    ]


@pytest.mark.parametrize("level", [0, 2])
def test_the_best_of_the_others_stands_by(tmp_path: Path, level: int) -> None:
    plan = planned(tmp_path, ONE, level=level, near=1.0, far=3.0, third=2.0)
    (step,) = plan.steps
    assert step.executor == "near"
    assert step.substitute is not None
    assert (step.substitute.executor, step.substitute.quality) == ("far", 0.9)
    assert 0.0 < step.substitute.cost_usd == pytest.approx(3.0 * step.cost_usd)
    engines = {engine.name: engine for engine in plan.engines}
    assert engines[step.substitute.engine].executor == "far"
    assert plan_from_json(plan.to_json()) == plan
    shown = explained(plan, plan.module().sole(), step)
    assert "else      far on `far`, quality 0.900" in shown
    if level:
        assert told(plan) == ["did: `far` stands by for `mood`"]


def test_nothing_stands_by_unless_asked_for(tmp_path: Path) -> None:
    plan = planned(tmp_path, ONE, near=1.0, far=3.0)
    request = Request(
        source=tmp_path / "w.mkb", target="vllm", libraries=(tmp_path / "library.toml",)
    )
    without = compile_workflow(request).plan
    assert without.steps[0].substitute is None
    assert len(plan.engines) == len(without.engines) + 1
    assert "substitute" not in json.loads(without.to_json())["steps"][0]
    assert plan.predicted == without.predicted  # what stands by takes nothing


def test_an_engine_of_the_plan_stands_by_for_others(tmp_path: Path) -> None:
    plan = planned(tmp_path, TWO, cheap=1.0, dear=3.0)
    first, second = plan.steps
    assert (first.executor, second.executor) == ("dear", "cheap")
    assert first.substitute is None  # it is pinned
    assert second.substitute is not None
    assert second.substitute.engine == first.engine
    assert len(plan.engines) == 2
    assert any("nothing else in the plan can do" in line for line in told(plan))


def test_the_accuracy_that_is_required_is_kept_with_all_of_them_at_work(tmp_path: Path) -> None:
    chain = ONE.replace("return mood(text)", "one = mood(text)\n    return mood(one)")
    plan = planned(tmp_path, chain, clause="require accuracy >= 0.85", near=1.0, far=3.0)
    assert [step.substitute is not None for step in plan.steps] == [True, False]
    assert any("could break `accuracy >= 0.85`" in line for line in told(plan))


def test_effects_are_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path, "effect " + ONE, near=1.0, far=3.0)
    assert plan.steps[0].substitute is None
    assert told(plan)[0].endswith("has an effect")


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    one, other = (planned(tmp_path, TWO, cheap=1.0, dear=3.0).to_json() for _ in range(2))
    assert one == other
