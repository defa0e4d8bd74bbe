"""Wording: prompts that the compiler writes start with what their calls share."""

from murakkab.ir.workflow import Module
from murakkab.passes.bind import Bind
from murakkab.passes.pipeline import parse_pipeline, run_pipeline

from .worlds import flow, world

HAIKU = 'task haiku(weather: Text, mood: Text) -> Text "Write a sad haiku."\n'
SONNET = 'task sonnet(mood: Text) -> Text "Compose a tragic sonnet."\n'


def bound(text: str) -> Module:
    return Bind().run(flow(text), world())


def test_one_call_keeps_its_parameters_in_order() -> None:
    module = bound(HAIKU + "workflow w(a: Text, b: Text) -> Text { return haiku(a, b) }")
    assert module.task("haiku").prompt == "Write a sad haiku.\nweather: {weather}\nmood: {mood}"


def test_what_all_iterations_read_comes_before_what_differs() -> None:
    module = bound(
        HAIKU + "workflow w(mood: Text, days: [Text]) -> [Text] "
        "{ found = for day in days { h = haiku(day, mood) yield h } return found }"
    )
    assert module.task("haiku").prompt == "Write a sad haiku.\nmood: {mood}\nweather: {weather}"


def test_what_an_outer_loop_holds_comes_before_what_an_inner_one_changes() -> None:
    module = bound(
        'task haiku(weather: Text, mood: Text, form: Text) -> Text "Write a sad haiku."\n'
        "workflow w(form: Text, moods: [Text], days: [Text]) -> [[Text]] { "
        "found = for mood in moods { "
        "own = for day in days { h = haiku(day, mood, form) yield h } yield own } return found }"
    )
    assert module.task("haiku").prompt == (
        "Write a sad haiku.\nform: {form}\nmood: {mood}\nweather: {weather}"
    )


def test_what_several_tasks_read_comes_before_their_descriptions() -> None:
    module = bound(
        HAIKU + SONNET + "workflow w(a: Text, b: Text) -> [Text] "
        "{ x = haiku(a, b) y = sonnet(b) return [x, y] }"
    )
    assert module.task("haiku").prompt == "mood: {mood}\nWrite a sad haiku.\nweather: {weather}"
    assert module.task("sonnet").prompt == "mood: {mood}\nCompose a tragic sonnet."


def test_values_that_differ_are_not_shared() -> None:
    module = bound(
        HAIKU + SONNET + "workflow w(a: Text, b: Text) -> [Text] "
        "{ x = haiku(a, b) y = sonnet(a) return [x, y] }"
    )
    assert module.task("sonnet").prompt == "Compose a tragic sonnet.\nmood: {mood}"


def test_what_is_sampled_differs_from_iteration_to_iteration() -> None:
    module = bound(
        HAIKU + SONNET + "workflow w(a: Text, days: [Text]) -> [Text] { found = for day in days { "
        "mood = sonnet(a) with { temperature: 0.9 } h = haiku(a, mood) yield h } return found }"
    )
    assert module.task("haiku").prompt == "Write a sad haiku.\nweather: {weather}\nmood: {mood}"


def test_every_level_asks_in_the_same_words() -> None:
    text = (
        HAIKU + SONNET + "workflow w(mood: Text, days: [Text]) -> [Text] { "
        "found = for day in days { s = sonnet(mood) h = haiku(day, s) yield h } return found }"
    )
    plain = bound(text)
    passes = parse_pipeline("bind,canonicalize,hoist,pushdown,fuse,canonicalize")
    fused = run_pipeline(flow(text), passes, world())
    assert {t.name: t.prompt for t in fused.tasks} == {t.name: t.prompt for t in plain.tasks}
