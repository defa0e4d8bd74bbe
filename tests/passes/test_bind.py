"""Bind: what a task means, who can do it, and what the author is told when nobody can."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import CompileError, Diagnostic
from murakkab.ir.workflow import Module
from murakkab.passes.bind import Bind
from murakkab.passes.configurations import configurations

from .worlds import LAPTOP, executor_toml, flow, world


def bound(text: str, *libraries: Path) -> Module:
    return Bind().run(flow(text), world(LAPTOP, *libraries))


def refused(text: str, *libraries: Path) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        bound(text, *libraries)
    (found,) = caught.value.diagnostics
    return found


def candidates(module: Module, step: str) -> list[str]:
    op = next(op for op in module.sole().calls() if op.out().name == step)
    found = op.attr("candidates")
    assert isinstance(found, tuple)
    return [str(name) for name in found]


def test_an_interface_is_bound_to_itself_best_executor_first() -> None:
    module = bound("workflow w(video: Video) -> [Scene] { return split_scenes(video) }")
    assert module.level == "logical"
    assert module.task("split_scenes").interface == "split_scenes"
    assert candidates(module, "split_scenes") == ["pyscenedetect"]


def test_a_task_in_words_binds_by_its_description_and_says_so() -> None:
    module = bound(
        'task name_things(frames: [Image]) -> [Text] "Detect the objects seen in the frames."\n'
        "workflow w(frames: [Image]) -> [Text] { return name_things(frames) }"
    )
    assert module.task("name_things").interface == "detect_objects"
    note = dict(module.attrs)["note.bind.name_things"]
    assert isinstance(note, str)
    assert "`detect_objects`" in note


def test_a_task_nothing_fits_is_asked_of_a_language_model_in_its_words() -> None:
    module = bound(
        'task haiku(weather: Text, mood: Text) -> Text "Write a {sad} haiku."\n'
        "workflow w(a: Text) -> Text { return haiku(a, a) }"
    )
    task = module.task("haiku")
    assert task.interface == "generate"
    assert task.prompt == "Write a {{sad}} haiku.\nweather: {weather}\nmood: {mood}"


def test_a_prompt_means_generate_and_images_need_a_model_that_sees() -> None:
    module = bound(
        'task look(image: Image) -> Text prompt "What is this? {image}"\n'
        "workflow w(i: Image) -> Text { return look(i) }"
    )
    found = candidates(module, "look")
    assert "qwen3-vl-30b" in found
    assert "llama-3.1-8b" not in found


def test_arguments_match_by_name_when_all_names_agree_else_by_position() -> None:
    module = bound(
        "task by_name(passages: [Text], query: Text) -> [Text] using search\n"
        "task by_place(q: Text, docs: [Text]) -> [Text] using search\n"
        "workflow w(q: Text, d: [Text]) -> [Text] { a = by_name(d, q) return by_place(q, a) }"
    )
    assert module.task("by_name").binding == ("passages", "query")
    assert module.task("by_place").binding == ("query", "passages")


def test_an_open_interface_takes_whatever_parameters_the_task_declares() -> None:
    module = bound(
        'effect task tell(who: Text, what: Text) -> Bool "Tell." using webhook\n'
        "workflow w(a: Text) -> Bool { return tell(a, a) }"
    )
    assert module.task("tell").binding == ("who", "what")
    assert candidates(module, "tell") == ["http-post"]


def test_a_library_of_the_users_own_implements_a_task_by_its_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(executor_toml("my-fold", "fold", 0.5))
    module = bound(
        "task fold(paper: Text) -> Text\nworkflow w(a: Text) -> Text { return fold(a) }", mine
    )
    assert module.task("fold").interface == "fold"
    assert candidates(module, "fold") == ["my-fold"]


@pytest.mark.parametrize(
    ("program", "id", "words"),
    [
        ("task f(a: Text) -> Text using serch", "unknown-interface", "did you mean `search`?"),
        ("task f(a: Text) -> [Text] using search", "binding-mismatch", "2 parameters"),
        ("task f(a: Int, b: Int) -> [Text] using search", "binding-mismatch", "wants Text"),
        ("task f(a: Text) -> Bool using webhook", "effect-mismatch", "effect task f"),
        ('effect task f(a: Text) -> Bool "Launch it."', "no-interface", "`using webhook`"),
    ],
)
def test_what_cannot_be_bound_is_refused(program: str, id: str, words: str) -> None:
    call = "f(1, 2)" if "b: Int" in program else "f(a)"
    result = "Bool" if "Bool" in program else "[Text]" if "[Text]" in program else "Text"
    found = refused(f"{program}\nworkflow w(a: Text) -> {result} {{ return {call} }}")
    assert found.id == id
    assert words in f"{found.message} {found.help}"


@pytest.mark.parametrize(
    ("pin", "id", "words"),
    [
        ('executor: "wisper-base"', "unknown-executor", "did you mean `whisper-base`?"),
        ('executor: "llama-3.1-8b"', "unsatisfiable-pin", "whisper-large-v3"),
        ("chunks: 3", "unknown-knob", "no executor of `transcribe` has a knob `chunks`"),
        ('model: "openai/nothing"', "unsatisfiable-pin", "its model is"),
    ],
)
def test_a_pin_nobody_satisfies_is_an_error(pin: str, id: str, words: str) -> None:
    found = refused(f"workflow w(s: Scene) -> Text {{ return transcribe(s) with {{ {pin} }} }}")
    assert found.id == id
    assert words in f"{found.message} {found.help}"


def test_pins_of_one_knob_must_hold_together() -> None:
    pins = "{ frames > 3, frames < 4 }"
    found = refused(f"workflow w(s: Scene) -> [Image] {{ return sample_frames(s) with {pins} }}")
    assert found.id == "unsatisfiable-pin"
    assert "`frames > 3` and `frames < 4`" in found.message


def test_pins_narrow_the_candidates() -> None:
    module = bound(
        "workflow w(s: Scene) -> Text {\n"
        "  a = transcribe(s) with { device: gpu }\n"
        '  b = transcribe(s) with { executor: "pocketsphinx" }\n'
        "  return a + b\n}"
    )
    assert "pocketsphinx" not in candidates(module, "a")
    assert candidates(module, "b") == ["pocketsphinx"]


def test_temperature_is_a_knob_of_language_models_only() -> None:
    module = bound("workflow w(t: Text) -> Text { return summarize(t) with { temperature: 0.5 } }")
    assert "textrank" not in candidates(module, "summarize")
    assert candidates(module, "summarize")


@pytest.mark.parametrize(
    ("pins", "setting"),
    [
        ("max_tokens <= 300", {"max_tokens": 300}),
        ("max_tokens < 300, max_tokens > 10", {"max_tokens": 299}),
        ("max_tokens >= 300", {}),
        ("temperature <= 0.7", {"temperature": 0}),
        ("temperature > 0.5", {"temperature": 0.6}),
        ("temperature != 0", {"temperature": 0.1}),
        ("temperature > 0.05, temperature < 0.07", {"temperature": 0.06}),
    ],
)
def test_what_a_model_is_set_to_satisfies_its_pins(pins: str, setting: dict[str, float]) -> None:
    module = bound(f"workflow w(t: Text) -> Text {{ return summarize(t) with {{ {pins} }} }}")
    (call,) = module.sole().calls()
    assert {frozenset(c.knobs) for c in configurations(call, world())} == {
        frozenset(setting.items())
    }


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ("temperature: -1", "between 0 and 2"),
        ('max_tokens: "many"', "whole number"),
        ("max_tokens: 0", "whole number"),
        ("max_tokens < 300, max_tokens >= 300", "whole number"),
    ],
)
def test_what_no_model_can_be_set_to_is_an_error_at_the_pin(pins: str, words: str) -> None:
    found = refused(f"workflow w(t: Text) -> Text {{ return summarize(t) with {{ {pins} }} }}")
    assert found.id == "unsatisfiable-pin"
    assert words in (found.help or "")
