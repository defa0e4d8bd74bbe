"""Diagnostics as text: the frame, what is underlined, and sources that want to harm a terminal."""

import click
import pytest

from murakkab.cli.display import shorten, width
from murakkab.cli.render import render, summary
from murakkab.ir.diagnostics import Diagnostic, Label, Span


def shown(diagnostic: Diagnostic, **files: str) -> list[str]:
    lines = {name: text.split("\n") for name, text in files.items()}
    return click.unstyle(render(diagnostic, lines.get)).split("\n")


def test_the_layout_of_a_diagnostic() -> None:
    source = (
        "\n" * 30 + '        speech = optional transcribe(scene) with { executor: "wisper-large" }'
    )
    found = Diagnostic(
        "unknown-executor",
        "no executor named `wisper-large`",
        Span("a", 31, 62, 31, 76),
        help="did you mean `whisper-large-v3`?",
    )
    assert shown(found, a=source) == [
        "error[unknown-executor]: no executor named `wisper-large`",
        "  --> a:31:62",
        "   |",
        '31 |         speech = optional transcribe(scene) with { executor: "wisper-large" }',
        "   |                                                              ^^^^^^^^^^^^^^",
        "help: did you mean `whisper-large-v3`?",
    ]


def test_labels_stand_at_their_own_lines() -> None:
    found = Diagnostic(
        "bound-twice",
        "`x` is bound twice",
        Span("a", 4, 1, 4, 2),
        labels=(Label(Span("a", 1, 1, 1, 2), "first here"), Label(Span("b", 1, 3, 1, 4), "and b")),
    )
    assert shown(found, a="x = 1\n\n\nx = 2", b="y x") == [
        "error[bound-twice]: `x` is bound twice",
        " --> a:4:1",
        "  |",
        "1 | x = 1",
        "  | - first here",
        "...",
        "4 | x = 2",
        "  | ^",
        " ::: b:1:3",
        "  |",
        "1 | y x",
        "  |   - and b",
    ]


@pytest.mark.parametrize(
    ("line", "start", "end", "text", "marks"),
    [
        ("\tx = y", 6, 7, "    x = y", "        ^"),
        ("名 = 值x", 5, 6, "名 = 值x", "     ^^"),  # two columns each
        ("e\u0301 = y", 6, 7, "e\u0301 = y", "    ^"),  # a combining accent takes none
        ("a", 2, 2, "a", " ^"),  # one past the end
        ("a", 9, 12, "a", " ^"),  # a span that is not in the line at all
        ("abc", 1, 4, "abc", "^^^"),
        ("a\x1b[31mb", 7, 8, "a␛[31mb", "      ^"),
        ("a\u202eb", 3, 4, "a<U+202E>b", "         ^"),
        ("a\r", 1, 2, "a", "^"),
    ],
)
def test_what_is_underlined(line: str, start: int, end: int, text: str, marks: str) -> None:
    frame = shown(Diagnostic("x", "m", Span("a", 1, start, 1, end)), a=line)
    assert frame[3:] == [f"1 | {text}", f"  | {marks}"]


def test_a_long_line_is_cut_around_what_is_marked() -> None:
    line = "x" * 500_000 + "!" + "y" * 500_000
    frame = shown(Diagnostic("x", "m", Span("a", 1, 500_001, 1, 500_002)), a=line)
    assert len(frame[3]) < 150
    assert frame[3][frame[4].index("^")] == "!"


def test_a_span_over_several_lines_is_marked_on_its_first() -> None:
    frame = shown(Diagnostic("x", "m", Span("a", 1, 3, 2, 2)), a="a {\n}")
    assert frame[3:] == ["1 | a {", "  |   ^"]


def test_without_the_source_the_place_remains() -> None:
    label = Label(Span("gone", 7, 1, 7, 2), "first here")
    found = Diagnostic("x", "m", Span("gone", 9, 1, 9, 2), labels=(label,))
    assert shown(found) == ["error[x]: m", " --> gone:9:1", "  = gone:7:1: first here"]


def test_a_clause_of_a_flag_is_placed_by_its_name() -> None:
    assert shown(Diagnostic("x", "m", Span("--require", 1, 25, 1, 44)))[1] == " --> --require"


def test_nothing_quoted_in_a_message_acts_on_the_terminal() -> None:
    found = Diagnostic("x", "no name `\x1b]0;owned\x07`\nfake", help="a\x1b[2Jb")
    text = "\n".join(shown(found))
    assert "\x1b" not in text and "\x07" not in text
    assert "\nfake" not in text


def test_counts_are_summed_up() -> None:
    kinds = [Diagnostic("x", "m"), Diagnostic("x", "m"), Diagnostic("y", "m", severity="warning")]
    assert summary(kinds) == "2 errors, 1 warning"


def test_texts_are_shortened_by_columns() -> None:
    assert shorten("名名名名", 5) == "名名…"
    assert width("名名…") == 5
    assert shorten("abc", 3) == "abc"
