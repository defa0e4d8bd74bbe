"""Debate: several sampled answers, given again in view of each other, then one of them.

Du et al., "Improving Factuality and Reasoning in Language Models through Multiagent Debate", ICML
2024 (arXiv:2305.14325). The prompt holds the answers of all with one's own among them and apart,
so that one step serves all debaters of a round.
"""

from __future__ import annotations

from ...ir.ops import Value
from ...ir.types import BOOL, TEXT, Base, Enum, ListOf, Option, Record, Type
from ...ir.voting import incomparable
from ...targets.compositions import figure
from .site import Site
from .sketch import Sketch


def debate(site: Site, sketch: Sketch) -> None:
    """Append the outcome of a debate of `debaters`, who answer `rounds` times at most.

    They stop as soon as all agree, where answers can be compared. The outcome is the most frequent
    answer; of answers that hold text, which are seldom the same, only if more than half are, else
    what a judge gives. Each round's executor counts alike, and so does the judge's.
    """
    arrangement = site.arrangement
    debaters, rounds = arrangement.whole("debaters"), arrangement.whole("rounds")
    judges = incomparable(site.task.result) is not None or _holds_text(site.task.result)
    weight = 1.0 / (min(rounds, 2) + judges)
    first = site.member(weight, sampled=True, factor=True)
    answers = site.several(sketch, debaters, "answer", first)
    if rounds == 1:
        _settle(site, sketch, answers, weight, site.call.out())
        return
    if incomparable(site.task.result) is not None:
        last = _argue(site, sketch, answers, rounds - 1, weight)
        _settle(site, sketch, last, weight, site.call.out())
        return
    agreed = site.unanimous(sketch, answers)
    then = sketch.inner()
    winner = then.add("majority", (answers,), "winner")
    orelse = sketch.inner()
    last = _argue(site, orelse, answers, rounds - 1, weight)
    other = _settle(site, orelse, last, weight, None)
    sketch.add(
        "if",
        (agreed,),
        "",
        attrs={"likely": figure(arrangement.composition.agrees, debaters)},
        regions=(then.region((), winner), orelse.region((), other)),
        result=site.call.out(),
    )


def _argue(site: Site, sketch: Sketch, answers: Value, rounds: int, weight: float) -> Value:
    """Append rounds in which each debater sees the answers of all; return the last answers."""
    task = site.made.debated(site.task)
    body = sketch.inner()
    held = sketch.value("held", answers.type)
    each = body.inner()
    own = sketch.value("own", site.task.result)
    attrs = site.asked(weight) | site.sampling(always=True)
    again = each.call(task, (*site.call.operands, own, held), "argument", attrs)
    following = body.add("map", (held,), "arguments", regions=(each.region((own,), again),))
    if incomparable(site.task.result) is None:
        done = site.unanimous(body, following)
    else:
        done = body.add(
            "const", (), "done", attrs={"value": False}, result=body.value("done", BOOL)
        )
    mean = figure(site.arrangement.composition.mean_rounds, site.arrangement.settings["rounds"])
    return sketch.add(
        "loop",
        (answers,),
        "debate",
        attrs={
            "limit": rounds,
            "rounds": None if mean is None else max(1.0, min(mean - 1, rounds)),
        },
        regions=(body.region((held,), following, done, following),),
        result=sketch.value("debated", answers.type),
    )


def _settle(
    site: Site, sketch: Sketch, answers: Value, weight: float, result: Value | None
) -> Value:
    """Append the choice between answers."""
    kind = site.task.result
    if incomparable(kind) is not None:
        return _judge(site, sketch, answers, weight, result)
    if not _holds_text(kind):
        return sketch.add("majority", (answers,), "outcome", result=result)
    share = sketch.add("agreement", (answers,), "agreement")
    half = sketch.number(0.5, "half")
    most = sketch.add("gt", (share, half), "most")
    then, orelse = sketch.inner(), sketch.inner()
    winner = then.add("majority", (answers,), "winner")
    other = _judge(site, orelse, answers, weight, None)
    regions = (then.region((), winner), orelse.region((), other))
    return sketch.add("if", (most,), "outcome", regions=regions, result=result)


def _judge(
    site: Site, sketch: Sketch, answers: Value, weight: float, result: Value | None
) -> Value:
    task = site.made.judged(site.task)
    return sketch.call(task, (*site.call.operands, answers), "verdict", site.asked(weight), result)


def _holds_text(kind: Type) -> bool:
    match kind:
        case ListOf(item) | Option(item):
            return _holds_text(item)
        case Record(fields):
            return any(_holds_text(part) for _, part in fields)
        case Enum():
            return False
        case Base():
            return kind == TEXT
