import pytest

from murakkab.compiler.frontend import check_text
from murakkab.ir.workflow import Expectation, Workflow

from .checking import diagnostics, found, program

PARAMS = "q: Text, video: Video, notes: [{ body: Text, cover: Image? }], n: Int, sound: Audio"
BODY = "parts = for x in notes { yield x.body }\nreturn f(join(parts, q))"


def workflow(clauses: str) -> Workflow:
    return check_text(program(BODY, PARAMS, clauses=clauses)).module.workflows[0]


REQUIREMENTS = [
    ("require latency <= 30 s", ("latency", "<=", 30.0, None)),
    ("require p95 latency < 1.5 min", ("latency", "<", 90.0, "p95")),
    ("require latency <= 250 ms", ("latency", "<=", 0.25, None)),
    ("require energy <= 2 Wh", ("energy", "<=", 7200.0, None)),
    ("require cost <= $0.05", ("cost", "<=", 0.05, None)),
    ("require gpus == 4", ("gpus", "==", 4.0, None)),
    ("require accuracy >= 64 %", ("accuracy", ">=", 0.64, None)),
    ("require accuracy >= 1", ("accuracy", ">=", 1.0, None)),
    ("require accuracy >= good", ("accuracy", ">=", "good", None)),
    ("require p99 latency <= fair", ("latency", "<=", "fair", "p99")),
]


@pytest.mark.parametrize(("clause", "expected"), REQUIREMENTS)
def test_requirements_are_in_base_units(
    clause: str, expected: tuple[str, str, float | str, str | None]
) -> None:
    (found_one,) = workflow(clause).requirements
    got = (found_one.metric, found_one.op, found_one.value, found_one.percentile)
    assert got == expected
    assert found_one.text == clause.removeprefix("require ")
    assert found_one.loc is not None and found_one.loc.line == 2


def test_objectives_keep_their_order_and_the_defaults_follow() -> None:
    flow = workflow("minimize latency\nmaximize accuracy\nminimize gpus then energy")
    assert flow.goals == ("latency", "accuracy", "gpus", "energy")
    assert flow.objectives == ("latency", "accuracy", "gpus", "energy", "cost")


EXPECTATIONS = [
    ("expect rate = 120 / min", "rate", 2.0),
    ("expect accuracy = 66 %", "accuracy", 0.66),
    ("expect video.duration = 2 min", "video.duration", 120.0),
    ("expect video.pixels = 2000000", "video.pixels", 2e6),
    ("expect video.fps = 30 fps", "video.fps", 30.0),
    ("expect video.fps = 30", "video.fps", 30.0),
    ("expect video.bytes = 2 MB", "video.bytes", 2e6),
    ("expect sound.duration = 3 s", "sound.duration", 3.0),
    ("expect q.tokens = 40 tokens", "q.tokens", 40.0),
    ("expect notes.body.tokens = 40", "notes.body.tokens", 40.0),
    ("expect notes.cover.pixels = 40", "notes.cover.pixels", 40.0),
    ("expect len(notes) = 8", "len(notes)", 8.0),
    ("expect len(parts) = 8", "len(parts)", 8.0),
    ("expect tokens(f) = 200", "tokens(f)", 200.0),
]


@pytest.mark.parametrize(("clause", "fact", "value"), EXPECTATIONS)
def test_expectations_are_resolved(clause: str, fact: str, value: float) -> None:
    (got,) = workflow(clause).expectations
    assert got == Expectation(fact, value, got.loc)


def test_a_length_is_that_of_the_value_the_binding_became() -> None:
    body = "a = for x in docs { yield x }\nb = a\nreturn join(b, q)"
    text = program(body, "q: Text, docs: [Text]", clauses="expect len(b) = 3")
    assert check_text(text).module.workflows[0].expectations[0].fact == "len(a)"


CLAUSES = [
    ("minimize energy then energy", ["2:22 duplicate-objective"]),
    ("minimize cost minimize cost", ["2:24 duplicate-objective"]),
    ("minimize accuracy", ["2:10 objective-direction"]),
    ("maximize energy", ["2:10 unknown-metric"]),
    ("minimize speed", ["2:10 unknown-metric"]),
    ("require latency <= 3 Wh", ["2:20 unit-mismatch"]),
    ("require latency <= 3", ["2:20 unit-mismatch"]),
    ("require energy <= 3 s", ["2:19 unit-mismatch"]),
    ("require energy <= 3 Wh / s", ["2:19 unit-mismatch"]),
    ("require cost <= 3", ["2:17 unit-mismatch"]),
    ("require gpus <= 3 GB", ["2:17 unit-mismatch"]),
    ("require gpus <= 50 %", ["2:17 out-of-range"]),
    ("require gpus <= 1.5", ["2:17 out-of-range"]),
    ("require accuracy >= 64", ["2:21 out-of-range"]),
    ("require accuracy >= 101 %", ["2:21 out-of-range"]),
    ("require accuracy >= 1 s", ["2:21 unit-mismatch"]),
    ("require latency <= 3 sec", ["2:22 unknown-unit"]),
    ("require energy <= good", ["2:19 tier-metric"]),
    ("require accuracy >= great", ["2:21 unknown-tier"]),
    ("require p95 energy <= 3 J", ["2:9 percentile-metric"]),
    ("require p42 latency <= 3 s", ["2:9 unknown-percentile"]),
    ("require latency <= 3 s require p50 latency <= 2 s", ["2:24 duplicate-requirement"]),
    ("require latency <= 3 s require p95 latency <= 9 s", []),
    ("require latency <= 3 s require latency >= 4 s", ["2:24 conflicting-requirements"]),
    ("require latency < 3 s require latency >= 3 s", ["2:23 conflicting-requirements"]),
    ("require latency <= 3 s require latency >= 3 s", []),
    ("require gpus == 2 require gpus >= 3", ["2:19 conflicting-requirements"]),
    ("expect rate = 3", ["2:15 unit-mismatch"]),
    ("expect rate = 3 s", ["2:15 unit-mismatch"]),
    ("expect rate = 3 tokens / s", ["2:15 unit-mismatch"]),
    ("expect rate = 0 / s", ["2:15 out-of-range"]),
    ("expect accuracy = 0 %", ["2:19 out-of-range"]),
    ("expect accuracy = 3", ["2:19 out-of-range"]),
    ("expect video.duration = 3 Wh", ["2:25 unit-mismatch"]),
    ("expect video.length = 3 s", ["2:14 unknown-fact"]),
    ("expect q.duration = 3 s", ["2:10 fact-type"]),
    ("expect n.tokens = 3", ["2:10 fact-type"]),
    ("expect notes.tokens = 3", ["2:14 fact-type"]),
    ("expect notes.title.tokens = 3", ["2:14 unknown-field"]),
    ("expect film.duration = 3 s", ["2:8 unknown-name"]),
    ("expect parts.tokens = 3", ["2:8 unknown-name"]),
    ("expect speed = 3", ["2:8 unknown-fact"]),
    ("expect size(parts) = 3", ["2:8 unknown-fact"]),
    ("expect len(part) = 3", ["2:12 unknown-name"]),
    ("expect len(q) = 3", ["2:12 fact-type"]),
    ("expect len(parts) = 3 s", ["2:21 unit-mismatch"]),
    ("expect tokens(g) = 3", ["2:15 uncalled-task"]),
    ("expect tokens(h) = 3", ["2:15 unknown-task"]),
    ("expect tokens(f) = 3 s", ["2:20 unit-mismatch"]),
    ("expect rate = 3 / s expect rate = 4 / s", ["2:21 duplicate-expectation"]),
]


@pytest.mark.parametrize(("clause", "expected"), CLAUSES)
def test_clauses(clause: str, expected: list[str]) -> None:
    assert found(program(BODY, PARAMS, clauses=clause)) == expected


def test_a_unit_error_says_which_units_fit() -> None:
    (error,) = diagnostics(program(BODY, PARAMS, clauses="require latency <= 3 Wh"))
    assert error.help == "it wants a time: `ms`, `s`, `min` or `h`"


def test_an_ambiguous_binding_is_an_error_that_shows_the_candidates() -> None:
    body = (
        "a = for x in docs { p = [x] yield len(p) }\n"
        "b = for x in docs { p = [x] yield len(p) }\nreturn if a == b { yield q } else { yield q }"
    )
    text = program(body, "q: Text, docs: [Text]", clauses="expect len(p) = 3")
    (error,) = diagnostics(text)
    assert error.id == "ambiguous-name"
    assert [label.span.line for label in error.labels] == [4, 5]


def test_tokens_are_of_tasks_not_of_workflows() -> None:
    text = program("return sub(q)", clauses="expect tokens(sub) = 3")
    (error,) = diagnostics(text + "workflow sub(x: Text) -> Text { return f(x) }")
    assert (error.id, error.message) == (
        "unknown-task",
        "`sub` is a workflow: name a task it calls",
    )


def test_tokens_of_a_task_called_in_an_inlined_workflow() -> None:
    text = program("return sub(q)", clauses="expect tokens(f) = 3")
    text += "workflow sub(x: Text) -> Text expect tokens(f) = 9 { return f(x) }"
    main, sub = check_text(text).module.workflows
    assert [e.value for e in main.expectations] == [3.0]
    assert [e.value for e in sub.expectations] == [9.0]
