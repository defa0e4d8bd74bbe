"""The driver: what the flags of `mkb compile` mean, and what a compilation leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from murakkab.compiler.driver import (
    STAGES,
    Compiled,
    Request,
    compile_workflow,
    environment,
    stage,
)
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError
from murakkab.ir.printer import print_module
from murakkab.ir.verifier import verify
from murakkab.passes.pipeline import LEVELS

ROOT = Path(__file__).parents[2]
LAPTOP = ROOT / "examples/clusters/laptop-cpu.toml"
SEARCH = """import "std/text"
workflow find(q: Text, docs: [Text]) -> Text
    minimize cost
    require accuracy >= 0.1
    expect len(docs) = 10
{
    best = search(q, docs) with { k: 5 }
    return answer(q, best)
}
"""
TRANSLATE = """import "std/text"
workflow german(t: Text) -> Text {
    return translate(t, "de")
}
"""
PIG_LATIN = """
[[executor]]
name = "pig-latin"
implements = "translate"
description = "a test executor"
runner = "python"
entry = "answer"
devices = ["cpu"]
requires = ["no_such_module"]
install = "pip install no-such-package"
quality = { value = 0.5, metric = "relative", source = "declared for a test" }
"""
PROFILE = """model,precision,device,tp,load_items_per_s,latency_p50_s,latency_p90_s,latency_p95_s,\
latency_p99_s,power_w,engine,engine_version,source
bm25-answer,,cpu,1,1,0.5,0.6,0.7,0.8,,,,measured for a test
"""


def asked(source: Path | str = SEARCH, **flags: Any) -> Request:
    """Return a request for the described laptop; `cluster=None` is this machine."""
    return Request(source, **{"cluster": LAPTOP, **flags})


def made(source: Path | str = SEARCH, **flags: Any) -> Compiled:
    return compile_workflow(asked(source, **flags))


def refused(source: Path | str = SEARCH, **flags: Any) -> Diagnostic:
    """Return why the inputs cannot be used."""
    with pytest.raises(InputError) as raised:
        made(source, **flags)
    (found,) = raised.value.diagnostics
    return found


def faulty(source: Path | str = SEARCH, **flags: Any) -> Diagnostic:
    """Return what is wrong with the program, or cannot be met."""
    with pytest.raises(CompileError) as raised:
        made(source, **flags)
    (found,) = raised.value.diagnostics
    return found


def at(text: str, source: str = SEARCH) -> tuple[int, int]:
    """Return the line and column where a text stands in a program."""
    before = source[: source.index(text)]
    return before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


# ---- goals and requirements


@pytest.mark.parametrize(
    ("minimize", "goals"),
    [
        (None, ("cost",)),
        ("latency", ("latency", "cost")),
        ("latency then energy", ("latency", "energy", "cost")),
        ("energy then cost", ("energy", "cost")),
        ("cost", ("cost",)),
    ],
)
def test_minimize_comes_before_what_the_file_says(
    minimize: str | None, goals: tuple[str, ...]
) -> None:
    assert made(minimize=minimize).flow.sole().goals == goals


def test_the_first_goal_is_proved_first() -> None:
    proofs = made(minimize="latency then energy").plan.solver.objectives
    assert [proof.metric for proof in proofs][:3] == ["latency", "energy", "cost"]


def test_requirements_are_added_to_those_of_the_file() -> None:
    done = made(require=("accuracy >= 0.2", "p95 latency <= 50 s"))
    texts = [need.text for need in done.flow.sole().requirements]
    assert texts == ["accuracy >= 0.1", "accuracy >= 0.2", "p95 latency <= 50 s"]


def test_an_added_requirement_changes_the_choice() -> None:
    cheap, good = made(), made(require=("accuracy >= good",))
    assert good.plan.predicted.accuracy >= 0.95 > cheap.plan.predicted.accuracy
    assert [s.executor for s in cheap.plan.steps] != [s.executor for s in good.plan.steps]


def test_an_added_requirement_that_cannot_be_met_is_blamed_in_its_own_words() -> None:
    found = faulty(require=("p95 latency <= 1 ms",))
    assert (found.id, found.message) == ("infeasible", "`p95 latency <= 1 ms` cannot be met")
    assert found.help is not None and found.help.startswith("`p95 latency <= 1 ms` would be")


FLAGS = [
    ("minimize", "speed", "`speed` is no metric"),
    ("minimize", "", "it says nothing"),
    ("minimize", "latency then", "expected a name"),
    ("minimize", "latency; cost", "`;`"),
    ("minimize", "energy require accuracy >= 1", "it says more than one thing"),
    ("minimize", 'energy "words"', "found a string"),
    ("minimize", "energy } workflow x() -> Int { return 1", "no open bracket"),
    ("minimize", "energy { return 0 } workflow x() -> Int", "it says more than one thing"),
    ("require", "accuracy", "expected a comparison"),
    ("require", "  ", "it says nothing"),
    ("require", "p95 latency <= 5", "`latency` needs a unit"),
    ("require", "speed <= 3 s", "`speed` is no metric"),
    ("require", "cost <= 1 kg", "`kg` is no unit"),
    ("require", "accuracy >= 3", "`accuracy` lies between 0 and 1"),
    ("require", "accuracy >= 0.1 minimize cost", "it says more than one thing"),
    ("require", "accuracy >= 0.1 expect len(x) = 3", "`"),
    ("require", "accuracy >= 0.1 // why", "`"),
    ("require", "\0", "`"),
    ("require", "(" * 5000, "`"),
]


@pytest.mark.parametrize(("flag", "text", "why"), FLAGS)
def test_a_wrong_flag_is_a_wrong_command_line(flag: str, text: str, why: str) -> None:
    flags: dict[str, Any] = {flag: text if flag == "minimize" else (text,)}
    found = refused(**flags)
    assert found.id == "usage"
    assert found.message.startswith(f"`--{flag} {text}`: ")
    assert why in found.message
    assert found.span is None


# ---- levels and pipelines


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_its_pipeline(level: int) -> None:
    plan = made(level=level).plan
    assert plan.passes == LEVELS[level]
    assert plan.solver.status == ("optimal" if level == 2 else "fixed")


@pytest.mark.parametrize("level", LEVELS)
def test_sequential_changes_only_the_placement(level: int) -> None:
    before, _, _ = LEVELS[level].rpartition("place")
    plan = made(level=level, sequential=True).plan
    assert plan.passes == before + 'place{policy="sequential"}'
    # although -O0 is predicted to be faster: it is what was asked for
    assert dict(plan.module().attrs)["sequential"] is True
    assert {engine.concurrency for engine in plan.engines} == {1}
    spans = sorted((s.start_s, s.end_s) for s in plan.steps if s.executor)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_level_that_does_not_exist_is_refused() -> None:
    found = refused(level=7)
    assert (found.id, found.message) == ("usage", "no level 7: there are 0, 1, 2")


@pytest.mark.parametrize(
    ("passes", "carried_out"),
    [
        ("", 'bind,place{policy="reference"}'),
        ("canonicalize", 'bind,canonicalize,place{policy="reference"}'),
        ("bind,substitute", 'bind,substitute,place{policy="reference"}'),
        ("place", "bind,place"),
        ("bind,place,canonicalize", "bind,place,canonicalize"),
    ],
)
def test_a_pipeline_is_completed_so_that_it_ends_in_a_plan(passes: str, carried_out: str) -> None:
    done = made(passes=passes)
    assert done.plan.passes == carried_out
    assert done.placed.level == "placed"


def test_no_passes_give_what_level_0_gives() -> None:
    assert made(passes="").plan.to_json() == made(level=0).plan.to_json()


def test_passes_win_over_the_level() -> None:
    assert made(passes="place", level=0).plan.passes == "bind,place"


def test_an_unknown_pass_is_refused_with_the_nearest() -> None:
    found = refused(passes="canonicalise")
    assert (found.id, found.help) == ("invalid-pipeline", "did you mean `canonicalize`?")


def test_every_plan_carries_the_prediction_of_level_0() -> None:
    reference = made(level=0).plan
    for level in LEVELS:
        assert made(level=level).plan.baseline == reference.predicted


def test_where_level_0_is_infeasible_the_plan_says_why() -> None:
    # the reference keeps work that nobody uses; nothing on a laptop can translate
    unused = SEARCH.replace("    return", '    _german = translate(q, "de")\n    return')
    why = "no executor of `translate` can run on cluster `laptop-cpu`"
    plan = made(unused).plan
    assert plan.baseline is None
    assert plan.notes == (f"no -O0 to compare with: {why}",)
    assert [s.executor for s in plan.steps] == [s.executor for s in made().plan.steps]
    assert faulty(unused, level=0).message == why


# ---- stages


@pytest.mark.parametrize(
    ("emit", "level"),
    [("flow", "flow"), ("logical", "logical"), ("fused", "logical"), ("placed", "placed")],
)
def test_a_stage_is_a_valid_module_of_its_level(emit: str, level: str) -> None:
    module = stage(asked(), emit)
    verify(module)
    assert emit in STAGES and module.level == level


def test_stages_are_what_a_whole_compilation_goes_through() -> None:
    done = made()
    assert stage(asked(), "flow") == done.flow
    assert print_module(stage(asked(), "placed")) == done.plan.ir


@pytest.mark.parametrize("emit", STAGES)
def test_flags_hold_at_every_stage(emit: str) -> None:
    workflow = stage(asked(minimize="latency", require=("accuracy >= 0.2",)), emit).sole()
    assert workflow.goals == ("latency", "cost")
    assert [need.text for need in workflow.requirements] == ["accuracy >= 0.1", "accuracy >= 0.2"]


def test_flow_needs_no_cluster() -> None:
    assert stage(asked(target="sim", cluster=None), "flow").level == "flow"


def test_observers_see_every_pass_once() -> None:
    seen: list[str] = []
    compile_workflow(asked(), lambda step, *told: seen.append(step.name))
    assert ",".join(seen) == LEVELS[2]


# ---- targets and what they have


def test_a_described_cluster_means_simulation() -> None:
    target, context = environment(asked())
    assert (target.name, context.cluster.name) == ("sim", "laptop-cpu")


def test_without_a_cluster_it_is_this_machine() -> None:
    target, context = environment(asked(cluster=None))
    assert target.name == "local"
    assert context.runners == {"python"}


def test_a_cluster_may_be_given_to_another_target() -> None:
    target, context = environment(asked(target="local"))
    assert (target.name, context.cluster.name) == ("local", "laptop-cpu")


def test_an_unknown_target_is_refused_with_the_nearest() -> None:
    found = refused(target="locl")
    assert (found.id, found.help) == ("unknown-target", "did you mean `local`?")
    assert refused(target="moon").help == "there are local, vllm, sim"


def test_simulation_without_a_cluster_is_refused() -> None:
    found = refused(target="sim", cluster=None)
    assert (found.id, found.message) == ("no-cluster", "target `sim` needs a described cluster")
    assert found.help is not None and "`--cluster FILE`" in found.help


def test_executors_that_are_not_installed_are_explained(tmp_path: Path) -> None:
    library = tmp_path / "own.toml"
    library.write_text(PIG_LATIN)
    found = faulty(TRANSLATE, cluster=None, libraries=(library,))
    assert (found.id, found.span and (found.span.line, found.span.column)) == (
        "no-executor-here",
        at('translate(t, "de")', TRANSLATE),
    )
    missing = "`pig-latin`: missing module `no_such_module`; install with `pip install"
    assert found.help is not None and missing in found.help
    # where a plan only is simulated, nothing needs to be installed here
    assert made(TRANSLATE, libraries=(library,)).plan.steps[0].executor == "pig-latin"


@pytest.mark.parametrize("what", ["source", "cluster", "libraries", "profiles"])
def test_a_file_that_is_not_there_is_named(what: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone.file"
    flags: dict[str, Any] = {what: gone if what in ("source", "cluster") else (gone,)}
    assert str(gone) in refused(**flags).message


# ---- where faults are


@pytest.mark.parametrize(
    ("pin", "id", "message"),
    [
        ("k: 7", "unsatisfiable-pin", "no executor of `search` satisfies `k: 7`"),
        ("kk: 5", "unknown-knob", "no executor of `search` has a knob `kk`"),
        ('executor: "bm26"', "unknown-executor", "no executor named `bm26`"),
        ('model: "gpt"', "unsatisfiable-pin", "no executor of `search` satisfies `model: gpt`"),
    ],
)
def test_a_pin_that_nothing_satisfies_is_pointed_at(pin: str, id: str, message: str) -> None:
    source = SEARCH.replace("k: 5", f"k <= 9, {pin}" if pin != "k: 7" else pin)
    found = faulty(source)
    assert (found.id, found.message) == (id, message)
    assert found.span is not None
    assert (found.span.line, found.span.column) == at(pin, source)
    assert found.span.end_column - found.span.column == len(pin)


def test_places_of_pins_are_not_left_in_the_ir() -> None:
    for emit in ("flow", "logical", "placed"):
        assert "at.k" not in print_module(stage(asked(), emit)), emit


def test_the_workflow_is_chosen_by_name() -> None:
    two = SEARCH + SEARCH.replace('import "std/text"\n', "").replace("find", "look")
    assert made(two, workflow="look").plan.workflow == "look"
    unknown = faulty(two, workflow="lok")
    assert (unknown.id, unknown.help) == ("unknown-workflow", "did you mean `look`?")
    unsaid = faulty(two)
    assert unsaid.id == "choose-workflow"
    assert unsaid.help is not None and "`find`, `look`" in unsaid.help


def test_texts_are_handed_out_even_where_the_program_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "wrong.mkb"
    file.write_text(SEARCH.replace("answer(q, best)", "answer(q)"))
    sources: dict[str, str] = {}
    with pytest.raises(CompileError):
        compile_workflow(asked(file), sources=sources)
    assert sources[str(file)] == file.read_text()


def test_warnings_come_with_the_plan() -> None:
    unused = SEARCH.replace("    return", "    more = len(docs)\n    return")
    assert [w.id for w in made(unused).warnings] == ["unused-binding"]


# ---- the same inputs, the same plan


def changed_digests(one: Request, other: Request) -> set[str]:
    a, b = compile_workflow(one).plan.digests, compile_workflow(other).plan.digests
    assert set(a) == set(b) == {"source", "library", "profiles", "cluster"}
    assert all(len(digest) == 64 for digest in a.values())
    return {name for name in a if a[name] != b[name]}


def test_digests_change_with_their_input_alone(tmp_path: Path) -> None:
    source, library, profile, cluster = (
        tmp_path / name for name in ("find.mkb", "own.toml", "own.csv", "own-cluster.toml")
    )
    source.write_text(SEARCH)
    library.write_text(PIG_LATIN)
    profile.write_text(PROFILE)
    cluster.write_text(LAPTOP.read_text().replace("cores = 8", "cores = 6"))
    one = asked(source)
    assert changed_digests(one, replace(one, minimize="latency", level=1)) == set()
    assert changed_digests(one, replace(one, libraries=(library,))) == {"library"}
    assert changed_digests(one, replace(one, profiles=(profile,))) == {"profiles"}
    assert changed_digests(one, replace(one, cluster=cluster)) == {"cluster"}
    elsewhere = tmp_path / "deeper" / "other.mkb"
    elsewhere.parent.mkdir()
    elsewhere.write_text(SEARCH)
    assert changed_digests(one, asked(elsewhere)) == set()
    elsewhere.write_text(SEARCH + "// a remark\n")
    assert changed_digests(one, asked(elsewhere)) == {"source"}


def test_an_imported_file_is_part_of_the_source(tmp_path: Path) -> None:
    task = 'task shorten(t: Text) -> Text\n    "Shorten."\n    prompt "Shorten: {t}"\n'
    (tmp_path / "tasks.mkb").write_text(task)
    main = tmp_path / "main.mkb"
    main.write_text('import "./tasks.mkb"\nworkflow w(t: Text) -> Text { return shorten(t) }\n')
    cluster = ROOT / "examples/clusters/two-a100-nodes.toml"
    before = made(main, cluster=cluster).plan.digests
    (tmp_path / "tasks.mkb").write_text(task.replace('"Shorten."', '"Shorten it."'))
    after = made(main, cluster=cluster).plan.digests
    assert {name for name in before if before[name] != after[name]} == {"source"}


_COMPILE = """
import sys
from pathlib import Path
from murakkab.compiler.driver import Request, compile_workflow
source, cluster = map(Path, sys.argv[1:])
sys.stdout.write(compile_workflow(Request(source, cluster=cluster)).plan.to_json())
"""


@pytest.mark.parametrize("cluster", ["laptop-cpu", "two-a100-nodes"])
def test_the_plan_is_the_same_bytes_in_every_process(cluster: str) -> None:
    described = str(ROOT / f"examples/clusters/{cluster}.toml")
    command = [sys.executable, "-c", _COMPILE, "examples/video_qa/video_qa.mkb", described]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "typings"), "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate()[0] for process in running)
    assert one.startswith(b"{") and one == other
