"""Cascade: a cheap model first, and a stronger one where the answer is not to be relied upon.

Chen et al., "FrugalGPT: How to Use Large Language Models While Reducing Cost and Improving
Performance", TMLR 2024 (arXiv:2305.05176). An answer stays if the model was sure enough of it (its
`confidence` is at least the threshold) or, with `verify = "task"`, if it says that the answer is
right. In ordinary operations: a later model is asked within an `if`, and so only where needed.
"""

from __future__ import annotations

from ...ir.ops import Value
from ...targets.compositions import figure
from .site import Site
from .sketch import Sketch


def cascade(site: Site, sketch: Sketch) -> None:
    """Append the first answer that stays; the last model's stays always.

    What a cascade of named members is worth was measured relative to the last one, whose quality
    alone counts then. Else each model counts by the share of answers that stay with it, those of
    one model alike where that is not known.
    """
    _stage(site, sketch, 0, 1.0, site.call.out())


def _stage(site: Site, sketch: Sketch, stage: int, reached: float, result: Value | None) -> Value:
    """Append a model and those after it; `reached` is the share of calls that come to it."""
    arrangement = site.arrangement
    composition, stages = arrangement.composition, arrangement.stages
    named = bool(composition.members)
    if stage + 1 == len(stages):
        last = site.member(1.0 if named else reached, stage=stage, factor=True)
        return sketch.call(site.task, site.call.operands, "strong", last, result)
    goes_on = figure(composition.escalates, arrangement.settings.get("threshold"))
    stays = 1.0 / (len(stages) - stage) if goes_on is None else 1.0 - goes_on
    weight = 0.0 if named else reached * stays
    answer, relied = _checked(site, sketch, stage, weight)
    then, orelse = sketch.inner(), sketch.inner()
    other = _stage(site, orelse, stage + 1, reached * (1.0 - stays), None)
    return sketch.add(
        "if",
        (relied,),
        "answer",
        attrs={"likely": None if goes_on is None else 1.0 - goes_on},
        regions=(then.region((), answer), orelse.region((), other)),
        result=result,
    )


def _checked(site: Site, sketch: Sketch, stage: int, weight: float) -> tuple[Value, Value]:
    """Append a model's answer and whether it is relied upon; both calls have the weight."""
    if site.arrangement.composition.verify == "task":
        half = site.member(weight / 2.0, stage=stage)
        answer = sketch.call(site.task, site.call.operands, "draft", half)
        check = site.asked(weight / 2.0, stage=stage)
        operands = (*site.call.operands, answer)
        return answer, sketch.call(site.made.checked(site.task), operands, "right", check)
    member = site.member(weight, stage=stage)
    scored = sketch.call(site.made.scored(site.task), site.call.operands, "scored", member)
    answer = sketch.add("field", (scored,), "draft", attrs={"name": "value"})
    confidence = sketch.add("field", (scored,), "confidence", attrs={"name": "confidence"})
    threshold = site.arrangement.settings["threshold"]
    assert isinstance(threshold, (int, float))  # the library's reader has seen to it
    least = sketch.number(float(threshold), "threshold")
    return answer, sketch.add("ge", (confidence, least), "sure")
