"""Several prompts taken apart, and written as one."""

from __future__ import annotations

import pytest

from murakkab.ir.template import parse_template
from murakkab.passes.prompts.together import INTRODUCTION, data_of, free_name, renamed, taken_apart

LONG = "For example, of a report of a flood in the mountains one may say that it sounds grave."


def shared(*prompts: str) -> list[str]:
    found = taken_apart({f"task_{n}": text for n, text in enumerate(prompts)})
    return [section.text for section in found.shared]


def test_data_that_all_have_is_shared_wherever_it_stands() -> None:
    assert shared("Text: {t}\nGist?", "Mood?\n\nText: {t}") == ["Text: {t}"]
    assert shared("Text: {t}\nGist?", "Text: {t}\nMood?", "Speech: {t}\nPlace?") == []
    assert shared("Text: {t}\nGist?", "Text: {u}\nMood?") == []


def test_instructions_are_shared_that_all_begin_with_or_that_are_long() -> None:
    assert shared("Be brief.\n\nGist?", "Be brief.\n\nMood?") == ["Be brief."]
    assert shared("Gist?\n\nBe brief.", "Mood?\n\nBe brief.") == []
    assert shared(f"Gist?\n\n{LONG}", f"Mood?\n\n{LONG}") == [LONG]
    assert shared(f"Gist?\n\n{LONG}", f"Mood?\n\n{LONG}", "Place?") == []


def test_each_task_has_a_tag_of_its_name_and_what_is_left_of_its_words() -> None:
    prompts = {
        "gist": "Text: {t}\nThe gist:\n1. in a word\n2. in three",
        "mood": "Mood?\nText: {t}",
    }
    assert taken_apart(prompts).written() == (
        f"Text: {{t}}\n\n{INTRODUCTION}\n\n"
        "<gist>\nThe gist:\n1. in a word\n2. in three\n</gist>\n\n<mood>\nMood?\n</mood>"
    )


def test_what_is_only_shared_leaves_nothing() -> None:
    found = taken_apart({"a": "Text: {t}\nGist?", "b": "Text: {t}\nGist?"})
    assert found.own == {"a": (), "b": ()}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{a} and {b.c}, {a}", "{x} and {y.c}, {x}"),
        ("{{a}} {a}{b}", "{{a}} {x}{y}"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_parameters_are_renamed_and_nothing_else(template: str, expected: str) -> None:
    assert renamed(template, {"a": "x", "b": "y"}) == expected
    assert renamed(expected, {"x": "a", "y": "b"}) == template
    assert len(parse_template(renamed(template, {"a": "x", "b": "y"}))) == len(
        parse_template(template)
    )


def test_data_is_a_parameter_with_its_label() -> None:
    assert [s.text for s in data_of("Text: {t}\n\nSay {t}.\n\n<n>\n{n}\n</n>")] == [
        "Text: {t}",
        "<n>\n{n}\n</n>",
    ]


def test_free_names() -> None:
    assert free_name("a", ()) == "a"
    assert free_name("a", ("a", "a_2")) == "a_3"
