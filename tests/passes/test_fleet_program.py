"""Programs in studies: tiers, what the author requires, and items side by side."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from murakkab.compiler.fleet import study_programs
from murakkab.ir.diagnostics import InputError
from murakkab.passes.fleet.day import plan_day
from murakkab.passes.fleet.problem import FleetProblem, fleet_problem
from murakkab.passes.fleet.program import Engines, Offer
from murakkab.passes.fleet.readout import service_plan
from murakkab.passes.service.problem import Column, RequestClass
from murakkab.passes.service.tiers import class_tier
from murakkab.runtime.replay import replay
from murakkab.targets.study import Study, load_study

PROGRAM = """task sort(text: Text) -> Text "Sort a text." prompt "{{text}}"
task reply(text: Text, kind: Text) -> Text "Reply to a text." prompt "{{kind}}: {{text}}"

workflow mail(texts: [Text]) -> [Text]
    {clauses}
    expect len(texts) = 40
    expect texts.tokens = 200
{{
    return for text in texts {{
        kind = sort(text)
        yield reply(text, kind)
    }}
}}
"""
STUDY = """name = "mail"
cluster = "cluster.toml"
libraries = ["library.toml"]
percentile = "p90"
policies = ["joint"]
[[workflow]]
name = "mail"
file = "mail.mkb"
arrivals = "arrivals.csv"
column = "mail"
"""
ONE = '[[workflow.class]]\nname = "all"\nshare = 1\n'
CLUSTER = """name = "some"
[[pool]]
name = "a100"
nodes = 40
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""
HOSTED = """[[executor]]
name = "hosted"
implements = "generate"
description = "A model"
runner = "openai"
model = "m"
devices = ["remote"]
quality = { value = 0.7, metric = "m", source = "s" }
work = { prompt_tokens = "tokens(prompt)", output_tokens = 100 }
result = { tokens = 100 }
price = { usd_per_mtok_prompt = 10.0, usd_per_mtok_output = 10.0 }
settings = { url = "http://127.0.0.1:9/v1" }
"""


def study(folder: Path, classes: str = ONE, clauses: str = "", per_minute: float = 600) -> Study:
    """Write a study of one program and read it."""
    (folder / "mail.mkb").write_text(PROGRAM.format(clauses=clauses))
    (folder / "study.toml").write_text(STUDY + classes)
    (folder / "cluster.toml").write_text(CLUSTER)
    (folder / "library.toml").write_text(HOSTED)
    rows = "".join(f"{60 * m},{per_minute}\n" for m in range(60))
    (folder / "arrivals.csv").write_text("start_s,mail\n" + rows)
    return load_study(folder / "study.toml")


def problem(found: Study) -> FleetProblem:
    return fleet_problem(found, study_programs(found, {}))


def only(found: Study) -> RequestClass:
    (kind,) = problem(found).problem.classes
    return kind


def configurations(kind: RequestClass) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return accuracy and least latency of every combination of configurations, one by one."""
    found: dict[tuple[str, ...], tuple[float, float]] = {}
    best = []
    for stage in kind.stages:
        by_name: dict[str, int] = {}
        for number, variant in enumerate(stage.variants):
            kept = by_name.setdefault(variant.configuration, number)
            if variant.latency_s < stage.variants[kept].latency_s:
                by_name[variant.configuration] = number
        best.append(by_name)
    for names in itertools.product(*best):
        column = Column.of(kind, [of[name] for of, name in zip(best, names, strict=True)])
        found[names] = (column.accuracy, column.latency_s)
    return found


@pytest.mark.parametrize(("tier", "percent"), [("best", 100), ("good", 95), ("basic", 50)])
def test_tiers_are_ranks_among_all_configurations(tmp_path: Path, tier: str, percent: int) -> None:
    kind = only(study(tmp_path, f'{ONE}accuracy = "{tier}"\nlatency = "{tier}"\n'))
    space = configurations(kind).values()
    rank = math.ceil(percent / 100 * len(space)) - 1
    assert kind.accuracy == pytest.approx(sorted(a for a, _ in space)[rank], rel=1e-7)
    assert kind.latency_s == pytest.approx(sorted((s for _, s in space), reverse=True)[rank])


def test_a_tier_of_measured_configurations_is_a_rank_among_them(tmp_path: Path) -> None:
    kind = only(study(tmp_path))
    space = configurations(kind)
    rows = {names: 0.1 * number for number, names in enumerate(list(space)[:4])}
    assert class_tier("accuracy", "basic", kind.stages, 1.0, rows) == pytest.approx(0.1)
    spans = sorted((space[names][1] for names in rows), reverse=True)
    assert class_tier("latency", "fair", kind.stages, 1.0, rows) == pytest.approx(spans[3])


def test_what_the_author_requires_holds_for_classes_that_require_nothing(tmp_path: Path) -> None:
    clauses = "require accuracy >= 0.9 require accuracy >= 0.8 require p95 latency <= 60 s"
    loose = '[[workflow.class]]\nname = "loose"\nshare = 0.5\naccuracy = 0.5\n'
    found = study(tmp_path, ONE.replace("share = 1", "share = 0.5") + loose, clauses)
    strict, other = problem(found).problem.classes
    assert (strict.accuracy, strict.latency_s) == (0.9, 60.0)
    assert (other.accuracy, other.latency_s) == (0.5, None)
    # of the author's percentile
    least = [min(v.latency_s for v in kind.stages[0].variants) for kind in (strict, other)]
    assert least[0] > least[1]


def test_accuracy_counts_from_what_the_author_expects(tmp_path: Path) -> None:
    kind = only(study(tmp_path, f"{ONE}accuracy = 0.6\n", "expect accuracy = 0.66"))
    assert kind.scale == 0.66
    assert max(a for a, _ in configurations(kind).values()) == pytest.approx(0.66)


@pytest.mark.parametrize(
    ("clauses", "said"),
    [
        ("require accuracy <= 0.9", "a class cannot be held to `accuracy <= 0.9`"),
        ("require latency >= 1 s", "a class cannot be held to `latency >= 1 s`"),
        ("require latency <= 9 s require p95 latency <= 20 s", "latency at several percentiles"),
        ("require accuracy >= good require accuracy >= 0.8", "is one limit of several"),
    ],
)
def test_what_a_class_cannot_be_held_to_is_told(tmp_path: Path, clauses: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        problem(study(tmp_path, clauses=clauses))
    span = caught.value.diagnostics[0].span
    assert span is not None and (Path(span.file).name, span.line) == ("mail.mkb", 5)
    assert problem(study(tmp_path, f"{ONE}accuracy = 0.5\n", clauses))  # the class has its own


def test_items_go_side_by_side_as_far_as_there_are_instances(tmp_path: Path) -> None:
    programs = study_programs(study(tmp_path), {})
    offer = Offer(programs["mail"])
    way = next(
        w for w in offer.ways[0] if w.slot is not None and w.slot.gpus and w.concurrency == 8
    )
    assert way.estimate is not None
    one, tail = way.estimate.latency.p50, way.estimate.latency.p90
    label = f"{way.configuration.label} on {way.slot} c8"

    def latency_s(rate: float) -> float:
        stage = offer.stages("p90", rate, Engines())[0]
        (variant,) = [v for v in stage.variants if v.label == label]
        return variant.latency_s

    assert latency_s(0.0) == pytest.approx(4 * one + tail)  # 40 items, 8 at a time
    busy = way.estimate.calls_per_s / 40  # requests a second that keep one instance busy
    assert latency_s(2.5 * busy) == pytest.approx(1.5 * one + tail)
    assert latency_s(100 * busy) == pytest.approx(tail)


def test_hosted_models_have_one_account(tmp_path: Path) -> None:
    offer = Offer(study_programs(study(tmp_path), {})["mail"])
    stage = offer.stages("p90", 1e6, Engines())[0]
    hosted = {v.load: v for v in stage.variants if v.configuration.startswith("hosted")}
    way = next(w for w in offer.ways[0] if w.slot is not None and w.slot.pool is None)
    assert way.estimate is not None
    calls = way.estimate.latency
    assert hosted[1].latency_s == pytest.approx(39 * calls.p50 + calls.p90)


def test_requests_beyond_one_instance_are_served_by_several(tmp_path: Path) -> None:
    found = study(tmp_path, f'{ONE}accuracy = "basic"\nlatency = "60 s"\n', per_minute=3000)
    fleet = problem(found)
    plan = service_plan(found, fleet, plan_day(found, fleet, "joint"))
    assert plan.unserved == ()
    assert max(plan.epochs[0].instances) > 1
    assert all(kind.meets for kind in replay(plan))
