"""The Python API, as a program that uses it sees it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import murakkab
from murakkab.runtime.errors import RunError
from murakkab.targets.plan import plan_from_json

WORKFLOW = """import "std/text"

workflow ask(query: Text, documents: [Text], note: Text?) -> Text {
    found = search(query, documents)
    return answer(query, found) + (note ?? "")
}
"""
INPUTS = {
    "query": "When does the night train to Prague leave?",
    "documents": ["The night train to Prague leaves at 22:40.", "The station opened in 1884."],
}


@pytest.fixture(scope="module")
def plan() -> murakkab.Plan:
    return murakkab.compile(WORKFLOW)


def test_text_and_file_compile_to_the_same_plan(plan: murakkab.Plan, tmp_path: Path) -> None:
    file = tmp_path / "ask.mkb"
    file.write_text(WORKFLOW)
    for source in (file, str(file)):
        found = murakkab.compile(source)
        assert (found.steps, found.predicted) == (plan.steps, plan.predicted)


def test_arguments_are_the_flags_of_the_command_line() -> None:
    plan = murakkab.compile(WORKFLOW, minimize="latency", require=["accuracy >= 0.1"], level=0)
    assert plan.passes.startswith("bind,place{")
    assert "objectives [latency]" in plan.ir and "require accuracy >= 0.1" in plan.ir


def test_what_is_done_on_failure_is_kept_in_the_plan() -> None:
    plan = murakkab.compile(WORKFLOW, on_failure={"attempts": 7, "hedge_after": None})
    assert (plan.failure.attempts, plan.failure.hedge_after, plan.failure.restarts) == (7, None, 3)
    assert plan_from_json(plan.to_json()) == plan
    with pytest.raises(murakkab.InputError, match="a failure policy has no `attempt`"):
        murakkab.compile(WORKFLOW, on_failure={"attempt": 7})


def test_a_wrong_program_raises_with_diagnostics() -> None:
    with pytest.raises(murakkab.CompileError) as caught:
        murakkab.compile("workflow w() -> Int { return x }")
    (found,) = caught.value.diagnostics
    assert found.span is not None and found.span.column == 30
    with pytest.raises(murakkab.InputError):
        murakkab.compile("gone.mkb")


def test_a_run_gives_result_and_record(plan: murakkab.Plan, tmp_path: Path) -> None:
    run = murakkab.run(plan, {**INPUTS, "note": "!"}, record=tmp_path / "run.json")
    assert "22:40" in run.result and run.result.endswith("!")
    assert run.record["status"] == "done"
    assert (tmp_path / "run.json").exists()


def test_a_run_inside_an_event_loop(plan: murakkab.Plan) -> None:
    async def beside_other_work() -> tuple[murakkab.Run, int]:
        run = asyncio.ensure_future(murakkab.arun(plan, INPUTS))
        turns = 0
        while not run.done():
            await asyncio.sleep(0.001)
            turns += 1
        return await run, turns

    run, turns = asyncio.run(beside_other_work())
    assert "22:40" in run.result
    assert turns > 1  # the loop went on turning


@pytest.mark.parametrize("change", [{"query": 7}, {"qery": "x"}, {"documents": "x"}])
def test_inputs_that_do_not_fit_raise(plan: murakkab.Plan, change: dict[str, object]) -> None:
    with pytest.raises(RunError, match=next(iter(change))):
        murakkab.run(plan, {**INPUTS, **change})


def test_media_are_given_as_paths(tmp_path: Path) -> None:
    plan = murakkab.compile(
        'import "std/media"\nworkflow v(video: Video) -> Int { return len(split_scenes(video)) }'
    )
    video = Path(__file__).parents[1] / "examples" / "video_qa" / "station.mp4"
    run = murakkab.run(plan, {"video": video})
    assert run.result >= 3


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, murakkab\n"
        "print([m for m in sys.modules if m.startswith('murakkab.')])\n"
        "print(murakkab.Plan.__name__, sorted(murakkab.__all__) == list(murakkab.__all__))"
    )
    root = str(Path(__file__).parents[1] / "typings")
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": root}
    ).stdout
    assert out == "[]\nPlan True\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="`murakkab` has no attribute `complie`"):
        murakkab.complie  # type: ignore[attr-defined]  # noqa: B018


LIBRARY = """[[executor]]
name = "double"
implements = "double"
description = "Doubles"
runner = "python"
entry = "double"
file = "code.py"
pooling = "thread"
quality = { value = 1.0, metric = "m", source = "s" }
"""
CODE = """from pathlib import Path
HERE = Path(__file__).parent
def double(x):
    with (HERE / "log").open("a") as file:
        file.write(f"{x} ")
    if x == 3 and not (HERE / "mended").exists():
        raise ValueError("three")
    return 2 * x
"""
DOUBLES = """task double(x: Int) -> Int "Doubles."
workflow w(xs: [Int]) -> [Int] {
    made = for x in xs { yield double(x) }
    return made
}
"""


@pytest.fixture
def doubling(tmp_path: Path) -> tuple[murakkab.Plan, Path]:
    (tmp_path / "code.py").write_text(CODE)
    library = tmp_path / "library.toml"
    library.write_text(LIBRARY)
    return murakkab.compile(DOUBLES, library=[library]), library


def test_a_run_is_taken_up_from_its_journal(doubling: tuple[murakkab.Plan, Path]) -> None:
    plan, library = doubling
    journal = library.with_name("run.db")
    with pytest.raises(RunError, match="three") as caught:
        murakkab.run(plan, {"xs": [1, 2, 3]}, library=[library], journal=journal)
    assert caught.value.journal == journal
    library.with_name("mended").touch()
    run = murakkab.resume(journal)  # with the library it was begun with
    assert run.result == [2, 4, 6]
    assert murakkab.resume(journal).result == [2, 4, 6]
    log = library.with_name("log").read_text().split()
    assert log.count("1") + log.count("2") <= 3 and log.count("3") == 2


def test_a_run_that_cannot_begin_has_no_journal(
    doubling: tuple[murakkab.Plan, Path],
) -> None:
    plan, library = doubling
    journal = library.with_name("run.db")
    with pytest.raises(RunError, match="xs"):
        murakkab.run(plan, {}, library=[library], journal=journal)
    assert not journal.exists()


def test_a_run_that_could_not_be_taken_up_leaves_its_journal_to_others(
    doubling: tuple[murakkab.Plan, Path],
) -> None:
    plan, library = doubling
    journal = library.with_name("run.db")
    murakkab.run(plan, {"xs": [1]}, library=[library], journal=journal)
    for _ in range(2):  # it is the library each time, and not that the first still holds it
        with pytest.raises(murakkab.InputError, match="double"):
            murakkab.resume(journal, library=[])
    assert murakkab.resume(journal).result == [2]


def test_options_are_those_of_the_command_line(doubling: tuple[murakkab.Plan, Path]) -> None:
    plan, library = doubling
    options = murakkab.api.RunOptions(cache=library.with_name("cache"), keep_going=True)
    for calls in (1, 2):  # what failed is tried again, the rest is in the cache
        run = murakkab.run(plan, {"xs": [1, 3]}, library=[library], **options)
        assert run.result == [2]
        assert [failure["instance"] for failure in run.record["failures"]] == ["double[1]"]
        assert library.with_name("log").read_text().split().count("1") == 1, calls
    with pytest.raises(RunError, match="budget"):
        murakkab.run(plan, {"xs": [1] * 100}, library=[library], max_joules=1e-9)


def test_a_simulation_keeps_nothing(tmp_path: Path) -> None:
    cluster = Path(__file__).parents[1] / "examples" / "clusters" / "laptop-cpu.toml"
    plan = murakkab.compile(WORKFLOW, cluster=cluster)
    with pytest.raises(murakkab.InputError, match="no use for a journal"):
        murakkab.run(plan, INPUTS, journal=tmp_path / "run.db")
