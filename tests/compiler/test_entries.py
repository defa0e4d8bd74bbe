"""Library entries beside the interfaces and tasks of a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError

OWN = """task find_words(t: Text) -> [Text] "Find the rare words." using find_keywords
workflow w(t: Text) -> [Text] { return find_words(t) }
"""
SEARCH = """import "std/text"
workflow w(q: Text, docs: [Text]) -> [Text] { return search(q, docs) }
"""
TRANSLATE = """import "std/text"
workflow w(t: Text) -> Text { return translate(t, "de") }
"""
ENTRY = """[[executor]]
name = "mine"
implements = "{implements}"
description = "a test executor"
runner = "python"
entry = "answer"
knobs = {{ {knob} = [1, 2] }}
quality = {{ value = 0.5, metric = "relative", source = "declared for a test" }}
"""


def warned(tmp_path: Path, implements: str, source: str, knob: str = "count") -> list[Diagnostic]:
    library = tmp_path / "l.toml"
    library.write_text(ENTRY.format(implements=implements, knob=knob))
    return list(compile_workflow(Request(source, libraries=(library,))).warnings)


@pytest.mark.parametrize(
    ("implements", "meant"), [("translat", "translate"), ("generates", "generate")]
)
def test_a_near_miss_is_told(implements: str, meant: str, tmp_path: Path) -> None:
    (found,) = warned(tmp_path, implements, SEARCH)
    assert (found.id, found.severity) == ("unknown-interface", "warning")
    assert found.help == f"did you mean `{meant}`?"
    assert found.span is not None and (found.span.line, found.span.column) == (2, 8)


@pytest.mark.parametrize(
    ("implements", "source"), [("find_keywords", OWN), ("fold_proteins", SEARCH)]
)
def test_interfaces_of_ones_own_are_right(implements: str, source: str, tmp_path: Path) -> None:
    assert warned(tmp_path, implements, source) == []


def test_a_knob_that_hides_a_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        warned(tmp_path, "translate", TRANSLATE, knob="text")
    (found,) = caught.value.diagnostics
    assert found.message == "knob `text` of `mine` is named like a parameter of `translate`"


def test_a_near_miss_is_told_beside_what_it_leaves_undone(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        warned(tmp_path, "translat", TRANSLATE)
    found = {(d.id, d.severity) for d in caught.value.diagnostics}
    assert found == {("no-executor-here", "error"), ("unknown-interface", "warning")}
