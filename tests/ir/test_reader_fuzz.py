"""Whatever text it is given, the reader answers with a module or with diagnostics."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.diagnostics import CompileError
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module

from .modules import modules

FRAGMENTS = st.sampled_from(
    (
        *("", "{", "}", "(", ")", "[", "]", ":", "=", ",", "?", "|", "^", "->", '"', "\\", "//"),
        *(
            "%q",
            "@ask",
            "%%",
            "@",
            "1e999",
            "-",
            "1" * 5000,
            "9.",
            "none",
            "true",
            "yield",
            "Never",
        ),
        *('"\\u12"', "loc(", 'loc("f":1:1:1:1)', "loc(1.5)", "task", "engine @e", "module placed"),
        *("\x00", "é", "{effect = 3}", "{binding = 1}", "limit = [", "expect", "require latency"),
    )
)


@settings(deadline=None)
@given(modules(), st.data())
def test_damaged_text_gives_a_module_or_diagnostics(module: Module, data: st.DataObject) -> None:
    text = print_module(module)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(FRAGMENTS) + text[end:]
    try:
        verify(read_module(text))
    except CompileError as error:
        assert error.diagnostics


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=200))
def test_any_text_gives_a_module_or_diagnostics(text: str) -> None:
    for prefix in ("", "module flow ", "module flow workflow @w() -> Text { "):
        try:
            verify(read_module(prefix + text))
        except CompileError as error:
            assert error.diagnostics


@pytest.mark.parametrize("opening", ["[", "(", "{ %x = if(%b) {"])
def test_deep_nesting_is_refused_not_suffered(opening: str) -> None:
    with pytest.raises(CompileError, match="nested deeper"):
        read_module("module flow task @t(%a: " + opening * 100_000)
