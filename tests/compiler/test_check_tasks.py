import pytest

from murakkab.compiler.frontend import check_text, standard_interfaces
from murakkab.ir.ops import Attr
from murakkab.ir.workflow import Task

from .checking import diagnostics, found, ops, program

TASKS = [
    ('task t(a: Text) -> Text "x" "y"', ["1:29 duplicate-item"]),
    ('task t(a: Text) -> Text prompt "{a}" prompt "{a}"', ["1:45 duplicate-item"]),
    ('task t(a: Text) -> Text system "x" system "y"', ["1:43 duplicate-item"]),
    ("task t(a: Text) -> Text using f using g", ["1:39 duplicate-item"]),
    ('task t(a: Text) -> Text using f "x" system "y" prompt "{a}"', []),
    ("task t(a: Text) -> Text", []),
    ("task t(a: Text, a: Int) -> Text", ["1:17 duplicate-parameter"]),
    ("task t(a: Missing) -> Gone", ["1:11 unknown-type", "1:23 unknown-type"]),
    ("task t(a: Text) -> Text\ntask t(b: Int) -> Int", ["2:6 duplicate-declaration"]),
    (
        "task t(a: Int) -> Int\nworkflow t(a: Int) -> Int { return a }",
        ["2:10 duplicate-declaration"],
    ),
    # placeholders
    ('task t(a: Text) -> Text prompt "{a} {b}"', ["1:37 unknown-placeholder"]),
    ('task t(a: Text) -> Text prompt "{a}" system "{b}"', ["1:46 unknown-placeholder"]),
    ('task t(a: Text) -> Text prompt "{{b}} {a}"', []),
    ('task t(a: Text) -> Text prompt "{a"', ["1:33 bad-placeholder"]),
    ('task t(a: Text) -> Text prompt "{a}}"', ["1:36 bad-placeholder"]),
    ('task t(a: Text) -> Text prompt "{}"', ["1:33 bad-placeholder"]),
    ('task t(a: Text) -> Text prompt "{ a }"', ["1:33 bad-placeholder"]),
    ('task t(a: Text) -> Text prompt "\\"{a.b}"', ["1:35 unknown-field"]),
    ('task t(a: { b: Text }) -> Text prompt "{a.b}"', []),
    ('task t(a: { b: Text }?) -> Text prompt "{a.b}"', []),
    ('task t(a: { b: { c: Int }? }) -> Text prompt "{a.b.c}"', []),
    ('task t(a: [{ b: Text }]) -> Text prompt "{a.b}"', ["1:42 unknown-field"]),
    ('task t(a: { b: Text }) -> Text prompt "{a.c}"', ["1:40 unknown-field"]),
    ('task t(a: Json) -> Text prompt "{a.b}"', ["1:33 unknown-field"]),
    (
        'task t(a: Text) -> Text prompt """\n    x\n      {b} {a}\n    """',
        ["3:7 unknown-placeholder"],
    ),
    # parameters the prompt leaves out
    ('task t(a: Text, b: Text) -> Text prompt "{a}"', ["1:17 unused-parameter"]),
    ('task t(a: Text, b: Text) -> Text prompt "{a}" system "{b}"', []),
    ('task t(a: Text, b: Text) -> Text prompt "{a}" using f', []),
    ('task t(a: Text) -> Text system "x"', []),
]


@pytest.mark.parametrize(("text", "expected"), TASKS)
def test_tasks(text: str, expected: list[str]) -> None:
    assert found(text) == expected


PINS: list[tuple[str, dict[str, Attr]]] = [
    ("frames: 10", {"pin.frames": "= 10"}),
    ("frames == 10", {"pin.frames": "= 10"}),
    ("frames <= 10", {"pin.frames": "<= 10"}),
    ("frames != 2.5", {"pin.frames": "!= 2.5"}),
    ("frames >= 2, frames <= 5", {"pin.frames": (">= 2", "<= 5")}),
    ("frames >= 2, frames >= 2", {"pin.frames": ">= 2"}),
    ("bias: -2", {"pin.bias": "= -2"}),
    ("window <= 2 min", {"pin.window": "<= 120"}),
    ("share: 50 %", {"pin.share": "= 0.5"}),
    ("device: gpu", {"pin.device": "= gpu"}),
    ("mode: fast", {"pin.mode": "= fast"}),
    ('executor: "a \\"b\\""', {"pin.executor": '= "a \\"b\\""'}),
    ('model != "m"', {"pin.model": '!= "m"'}),
    ("stream: true, cache: false", {"pin.cache": "= false", "pin.stream": "= true"}),
    ("temperature: 0", {"pin.temperature": "= 0"}),
    ("temperature: 0.7", {"pin.temperature": "= 0.7", "sampled": True}),
    ("temperature > 0", {"pin.temperature": "> 0", "sampled": True}),
    ("temperature >= 0", {"pin.temperature": ">= 0"}),
    ("temperature <= 0.7", {"pin.temperature": "<= 0.7"}),
]


@pytest.mark.parametrize(("pins", "attrs"), PINS)
def test_pins_become_attributes(pins: str, attrs: dict[str, Attr]) -> None:
    (call,) = (op for op in ops(program(f"return f(q) with {{ {pins} }}")) if op.kind == "call")
    assert dict(call.attrs) == attrs


BAD_PINS = [
    ("device: tpu", "bad-pin"),
    ("device: 2", "bad-pin"),
    ('device: "cpu"', "bad-pin"),
    ("executor: bart", "bad-pin"),
    ("model: 3", "bad-pin"),
    ("gpu: true", "bad-pin"),
    ('executor < "x"', "bad-pin"),
    ("mode <= fast", "bad-pin"),
    ("k: 3, k: 4", "duplicate-pin"),
]


@pytest.mark.parametrize(("pins", "id"), BAD_PINS)
def test_bad_pins(pins: str, id: str) -> None:
    (error,) = diagnostics(program(f"return f(q) with {{ {pins} }}"))
    assert error.id == id


def test_the_place_of_a_pin_can_be_looked_up_by_its_call() -> None:
    checked = check_text(program("return f(q) with { k >= 3, k <= 5, device: cpu }"))
    (call,) = checked.module.workflows[0].calls()
    places = checked.pin_spans[call.locs[0]]
    assert {name: span.column for name, span in places.items()} == {"k": 20, "device": 36}


def test_a_call_is_located_from_its_name_to_its_end() -> None:
    (call,) = check_text(program("return optional f(q) ?? q")).module.workflows[0].calls()
    (span,) = call.locs
    assert (span.line, span.column, span.end_column) == (4, 17, 21)


def test_an_effect_keeps_what_its_declaration_says() -> None:
    module = check_text(program("post(q)\nreturn q")).module
    (task,) = module.tasks
    assert (task.name, task.effect, task.using) == ("post", True, "webhook")
    assert task.description == "Post a message."


def signature(task: Task) -> str:
    params = ", ".join(f"{p.name}: {p.type}" for p in task.params)
    return f"{task.name}({params}) -> {task.result}"


def test_the_standard_library_declares_the_documented_interfaces() -> None:
    scene = "{video: Video, start: Float, end: Float}"
    found_ones = standard_interfaces()
    assert [signature(task) for task in found_ones] == [
        "answer(query: Text, context: [Text]) -> Text",
        "caption(image: Image) -> Text",
        "classify(text: Text, labels: [Text]) -> Text",
        "detect_objects(frames: [Image]) -> [Text]",
        "embed(text: Text) -> Embedding",
        "extract(text: Text, fields: [Text]) -> Json",
        "rank(query: Text, passages: [Text]) -> [Text]",
        "read_text(frames: [Image]) -> Text",
        "review(code: Text, report: Text) -> Text",
        "run_tests(code: Text, tests: Text) -> {passed: Bool, report: Text}",
        f"sample_frames(scene: {scene}) -> [Image]",
        "search(query: Text, passages: [Text]) -> [Text]",
        "split_scenes(video: Video) -> [{video: Video, start: Float, end: Float}]",
        "summarize(text: Text) -> Text",
        f"transcribe(scene: {scene}) -> Text",
        "transcribe_audio(audio: Audio) -> Text",
        "translate(text: Text, language: Text) -> Text",
        "webhook(message: Text) -> Bool",
        "write_code(problem: Text, feedback: Text) -> Text",
    ]
    assert [task.name for task in found_ones if task.effect] == ["webhook"]
    assert all(task.using == task.name and task.description for task in found_ones)
