"""Plans as documents: what is written is read back, and nothing broken or hostile gets in."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.ir.verifier import verify
from murakkab.targets.plan import SCHEMA, Plan, plan_from_json, plan_schema

ROOT = Path(__file__).parents[2]
CLUSTERS = ("two-a100-nodes", "laptop-cpu")
Document = dict[str, Any]
Where = tuple[str | int, ...]


@cache
def compiled(cluster: str = "laptop-cpu", level: int = 2) -> Plan:
    source = ROOT / "examples/video_qa/video_qa.mkb"
    described = ROOT / f"examples/clusters/{cluster}.toml"
    return compile_workflow(Request(source, target="sim", cluster=described, level=level)).plan


def document(cluster: str = "laptop-cpu") -> Document:
    found: Document = json.loads(compiled(cluster).to_json())
    return found


def refusal(text: str) -> str:
    """Return why a document is refused; any exception but InputError fails the test."""
    with pytest.raises(InputError) as raised:
        plan_from_json(text, "some.plan.json")
    (found,) = raised.value.diagnostics
    assert found.id == "invalid-plan"
    prefix = "cannot use plan `some.plan.json`: "
    assert found.message.startswith(prefix)
    return found.message.removeprefix(prefix)


# ---- what is written is read back


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_plan_reads_back_equal_and_writes_the_same_text(cluster: str, level: int) -> None:
    plan = compiled(cluster, level)
    text = plan.to_json()
    read = plan_from_json(text)
    assert read == plan
    assert read.to_json() == text


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_text_is_sorted_indented_and_plain_json(cluster: str) -> None:
    text = compiled(cluster).to_json()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    jsonschema.validate(json.loads(text), plan_schema())


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_plan_carries_its_ir_and_what_was_written(cluster: str) -> None:
    plan = compiled(cluster)
    placed, flow = plan.module(), plan.written()
    assert placed.level == "placed" and flow is not None and flow.level == "flow"
    verify(placed)
    verify(flow)
    assert {s.step for s in plan.steps} == {op.out().name for op in placed.sole().calls()}


def test_a_plan_without_the_written_workflow_is_read() -> None:
    text = json.dumps({key: value for key, value in document().items() if key != "flow"})
    assert plan_from_json(text) == replace(compiled(), flow="")
    assert plan_from_json(text).written() is None


def test_key_order_and_white_space_do_not_matter() -> None:
    backwards = dict(reversed(document().items()))
    assert plan_from_json(json.dumps(backwards)) == compiled()


def test_the_published_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(plan_schema())


# ---- damaged text


@given(st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_truncated_plan_is_refused(share: float) -> None:
    text = compiled().to_json().rstrip()
    assert "not valid JSON (truncated?)" in refusal(text[: int(share * len(text))])


NUMBERS = {
    "NaN": "`NaN` is not a finite number",
    "Infinity": "`Infinity` is not a finite number",
    "-Infinity": "`-Infinity` is not a finite number",
    "1e400": "`1e400` is not a finite number",
    "-1e999": "`-1e999` is not a finite number",
    "9" * 400: "too long for a number",
    "9" * 100_000: "too long for a number",
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:10] + f"-{len(number)}")
def test_a_number_beyond_reason_is_refused(number: str) -> None:
    text = compiled().to_json().replace('"startup_s": 0.0', f'"startup_s": {number}', 1)
    assert NUMBERS[number] in refusal(text)


OTHER_TEXTS = {
    "": "not valid JSON",
    "null": "no `schema` field",
    "[]": "no `schema` field",
    '"murakkab/plan/1"': "no `schema` field",
    "{}": "no `schema` field",
    "[" * 100_000: "not valid JSON",
    '{"a":' * 100_000: "not valid JSON",
    '{"schema": "murakkab/plan/2"}': "its schema is `murakkab/plan/2`, this version reads",
    '{"schema": "murakkab/run/1"}': "its schema is `murakkab/run/1`",
    '{"schema": null}': "its schema is `None`",
    '{"schema": {"a": [1]}}': "its schema is `{'a': [1]}`",
    json.dumps({"schema": "x" * 10_000}): "its schema is `xxx",
    json.dumps({"schema": SCHEMA}): "is a required property",
    "\ufeff{}": "not valid JSON",
    '{"schema": "murakkab/plan/1", "schema": "murakkab/plan/1"}': "`schema` stands twice",
}


@pytest.mark.parametrize("text", OTHER_TEXTS, ids=lambda text: text[:24])
def test_what_is_no_plan_is_refused(text: str) -> None:
    why = refusal(text)
    assert OTHER_TEXTS[text] in why
    assert len(why) < 500


def test_another_version_says_what_to_do() -> None:
    with pytest.raises(InputError) as raised:
        plan_from_json('{"schema": "murakkab/plan/2"}')
    assert raised.value.diagnostics[0].help == "compile the workflow again with this version"


@pytest.mark.parametrize("depth", [50, 300, 500, 800, 900, 950, 990])
def test_nesting_is_refused_at_every_depth(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    text = compiled().to_json()
    for old, new in {
        '"notes": [': f'"notes": {deep}, "more": [',
        '"knobs": {}': f'"knobs": {{"k": {deep}}}',
        '"cluster": "laptop-cpu"': f'"cluster": {deep}',
        '"engines": [': f'"more": {deep}, "engines": [',
    }.items():
        assert old in text
        assert refusal(text.replace(old, new, 1))


@pytest.mark.parametrize("part", ["predicted", "baseline"])
def test_a_prediction_states_every_percentile(part: str) -> None:
    document = json.loads(compiled().to_json())
    document[part] = {**document["predicted"], "latency_s": {"p50": 1.0}}
    assert part in refusal(json.dumps(document))


def test_half_a_character_is_refused() -> None:
    text = compiled().to_json().replace('"cluster": "laptop-cpu"', '"cluster": "\\ud800"')
    assert "not valid JSON" in refusal(text)


# ---- every field of the wrong kind

FREE_TEXT = {"cluster", "passes", "notes", "source", "breaks", "variant", "slot", "why_not"}
FREE_TEXT |= {"text", "places"}  # of remarks
MAY_BE_NULL = {
    "baseline",
    "hedge_after",
    "latency_s",
    "energy_j",
    "cost_usd",
    "accuracy",
    "why_not",
}


def places(value: Any, path: Where = ()) -> Iterator[Where]:
    """Yield the path of every value of a document, the first item standing for its list."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def at(found: Any, path: Where) -> Any:
    for key in path:
        found = found[key]
    return found


def changed(path: Where, value: Any, cluster: str = "laptop-cpu") -> str:
    """Return the text of a plan with one value replaced."""
    found = document(cluster)
    at(found, path[:-1])[path[-1]] = value
    return json.dumps(found)


PLACES = list(places(document()))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: "/".join(map(str, path)))
def test_a_value_of_the_wrong_kind_is_refused(path: Where) -> None:
    now = at(document(), path)
    wrong: list[Any] = [[[]], {"a": {}}, True, -1, -0.5, "9" * 300]
    if isinstance(now, str) and FREE_TEXT & set(path):
        wrong.remove("9" * 300)
    if not (path[-1] in MAY_BE_NULL and ("alternatives" in path or path[0] == "failure")):
        wrong.append(None)
    for value in wrong:
        if isinstance(value, bool) and isinstance(now, bool):
            continue
        if value is now or (value is None and path == ("baseline",)):
            continue
        why = refusal(changed(path, value))
        assert len(why) < 500


@pytest.mark.parametrize("path", PLACES, ids=lambda path: "/".join(map(str, path)))
def test_a_missing_field_is_refused_or_has_a_default(path: Where) -> None:
    found = document()
    if isinstance(path[-1], int):
        return
    del at(found, path[:-1])[path[-1]]
    try:
        plan_from_json(json.dumps(found))
    except InputError:
        return
    optional = {
        "failure",
        "notes",
        "remarks",
        "flow",
        "carbon",
        "service",
        "breaks",
        "alternatives",
        "wake_s",
    }
    optional |= MAY_BE_NULL
    assert path[-1] in optional or path[0] in ("digests", "baseline")


OBJECTS = [p for p in ((), *PLACES) if isinstance(at(document(), p), dict)]
OPEN = {"digests", "knobs", "call_s", "latency_s"}


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: "/".join(map(str, path)) or "plan")
def test_an_unknown_key_is_refused(path: Where) -> None:
    if path and path[-1] == "digests":
        return  # names of inputs; nothing is done with them
    if path[:1] == ("baseline",) and path[-1] in OPEN:
        return  # a percentile more
    assert refusal(changed((*path, "import"), "os.system"))


# ---- tables that disagree with the IR


def edited(change: Callable[[Document], object]) -> str:
    found = copy.deepcopy(document())
    change(found)
    return refusal(json.dumps(found))


def step(found: Document, name: str) -> Document:
    one: Document
    (one,) = (s for s in found["steps"] if s["step"] == name)
    return one


def ir(old: str, new: str) -> Callable[[Document], object]:
    def change(found: Document) -> None:
        assert old in found["ir"], f"`{old}` is not in the IR: mend the test"
        found["ir"] = found["ir"].replace(old, new)

    return change


DISAGREEMENTS: dict[str, tuple[Callable[[Document], object], str]] = {
    "another executor": (
        lambda d: step(d, "answer").update(executor="rapidocr"),
        "`executor` is 'rapidocr', in its IR it is 'bm25-answer'",
    ),
    "other knobs": (
        lambda d: step(d, "answer")["knobs"].update(k=1_000_000),
        "`knobs` is {'k': 1000000}, in its IR it is {",
    ),
    "a knob more": (
        lambda d: step(d, "seen")["knobs"].update(url="http://x"),
        "in its IR it is {}",
    ),
    "another engine": (
        lambda d: step(d, "answer").update(engine="rapidocr"),
        "`engine` is 'rapidocr', in its IR it is 'bm25-answer'",
    ),
    "another task": (lambda d: step(d, "answer").update(task="webhook"), "`task` is 'webhook'"),
    "left out in one": (lambda d: step(d, "answer").update(executor=None), "`executor` is None"),
    "a step twice": (lambda d: d["steps"].append(d["steps"][0]), "`steps` has 7 entries"),
    "a step replaced": (
        lambda d: d["steps"].__setitem__(1, d["steps"][0]),
        "steps/1: `step` is 'scenes', in its IR it is 'frames'",
    ),
    "a step less": (lambda d: d["steps"].pop(), "`steps` has 5 entries, its IR has"),
    "an engine twice": (lambda d: d["engines"].append(d["engines"][0]), "`engines` has 6"),
    "an engine less": (lambda d: d["engines"].pop(), "`engines` has 4 entries, its IR has 5"),
    "another runner": (lambda d: d["engines"][0].update(runner="vllm"), "`runner` is 'vllm'"),
    "another digest": (
        lambda d: d["engines"][0].update(executor_digest="0" * 64),
        "`executor_digest` is '000",
    ),
    "more in flight": (lambda d: d["engines"][0].update(concurrency=999_999), "`concurrency` is"),
    "another place": (
        lambda d: d["engines"][0]["places"].append({"pool": "x", "node": 9, "gpus": [3]}),
        "`places` is",
    ),
    "better promises": (lambda d: d["predicted"].update(accuracy=0.5), "`accuracy` is 0.5"),
    "a bolder proof": (
        lambda d: d["solver"]["objectives"][0].update(bound=1.0),
        "solver: `objectives`",
    ),
    "IR that is none": (lambda d: d.update(ir="import os; os.system('true')"), "its IR is wrong"),
    "no IR": (lambda d: d.update(ir=""), "its IR is wrong: the text ends too early"),
    "flow IR": (lambda d: d.update(ir=d["flow"]), "its IR is not the placed workflow `video_qa`"),
    "another workflow's IR": (ir("workflow @video_qa", "workflow @other"), "`video_qa`"),
    "a workflow renamed": (lambda d: d.update(workflow="other"), "workflow `other`"),
    "another flow": (
        lambda d: d.update(flow=d["flow"].replace("@video_qa", "@other")),
        "its `flow` is not the workflow `video_qa` as written",
    ),
    "placed IR as flow": (lambda d: d.update(flow=d["ir"]), "its `flow` is not"),
    "unknown executor": (ir("executor = @bm25-answer", "executor = @os.system"), "'os.system'"),
    "unknown engine": (ir("engine @rapidocr", "engine @other"), "is none of the module"),
    "unknown task": (ir("invoke @answer", "invoke @system"), "no task `@system`"),
    "two workflows": (
        lambda d: d.update(ir=d["ir"] + d["ir"][d["ir"].index("workflow") :]),
        "distinct names",
    ),
    "a place that is none": (ir('places = ["0"]', 'places = ["../../etc"]'), "lacks what a plan"),
    "IR without figures": (ir("solver.status", "solver.other"), "lacks what a plan is made from"),
    "an infinite figure": (ir("replicas = 1,", "replicas = 1e999,"), "the number is too large"),
    "endless digits": (ir("replicas = 1,", f"replicas = {'1' * 9999},"), "the number is too large"),
    "a path as a name": (lambda d: d["engines"][0].update(name="../../etc"), "engines/0/name"),
    "a name with an end": (lambda d: d["engines"][0].update(runner="python\n"), "engines/0/runner"),
    "a module as a name": (
        lambda d: step(d, "answer").update(executor="os:system"),
        "steps/5/executor",
    ),
    "a module as a task": (lambda d: step(d, "answer").update(task="os.system"), "'os.system'"),
}


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_an_edited_plan_is_refused_with_the_reason(name: str) -> None:
    change, reason = DISAGREEMENTS[name]
    assert reason in edited(change)


def test_reasons_are_short_even_where_values_are_long() -> None:
    assert len(edited(lambda d: step(d, "answer")["knobs"].update(k=["x" * 1000] * 1000))) < 500
    assert len(edited(lambda d: d["engines"][0].update(device="x" * 100_000))) < 500


@pytest.mark.parametrize("depth", [100, 400, 499, 600, 50_000])
def test_deep_ir_is_refused(depth: int) -> None:
    nested = "{a: " * depth + "Text" + "}" * depth
    why = edited(ir("(%query: Text, %video: Video) -> Text", f"(%query: {nested}) -> Text"))
    assert "IR is wrong" in why or "nested too deeply" in why


def test_a_document_over_the_limit_is_not_even_parsed() -> None:
    assert refusal(" " * (64 * 1024 * 1024 + 1)) == "the document is over 64 MiB"


# ---- loading does nothing but read

_INERT = """
import json, sys
from murakkab.ir.diagnostics import InputError
from murakkab.targets.plan import plan_from_json

good = sys.stdin.read()
for text in (good, json.dumps({**json.loads(good), "steps": None})):  # imports what reading takes
    try:
        plan_from_json(text)
    except InputError:
        pass
seen = []
watched = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "shutil.")
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(watched) else None)
plan_from_json(good)
for key in ("workflow", "target", "cluster", "passes", "ir", "flow"):
    for evil in ("/etc/passwd", "os:system", "antigravity", "file:///dev/zero", "__import__('os')"):
        for text in (good, good.replace(json.loads(good)["workflow"], evil)):
            try:
                plan_from_json(json.dumps({**json.loads(text), key: evil}))
            except InputError:
                pass
for name in ("this", "antigravity", "turtle", "os.system"):
    try:
        plan_from_json(good.replace("bm25-answer", name).replace('"python"', '"' + name + '"'))
    except InputError:
        pass
print(sorted(set(seen)), [m for m in ("this", "antigravity", "turtle") if m in sys.modules])
"""


def test_loading_opens_imports_and_runs_nothing() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
    done = subprocess.run(
        [sys.executable, "-c", _INERT],
        input=compiled().to_json(), capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("[] []", 0), done.stderr
