"""Findings as data, and as the text of an exception."""

from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError, Span


def test_the_text_of_an_error_is_where_what_and_what_to_do() -> None:
    span = Span("a.mkb", 1, 2, 1, 3)
    here = Diagnostic("unknown-name", "no `b`", span, help="did you mean `a`?")
    nowhere = Diagnostic("no-such-file", "there is no file `c`")
    assert str(CompileError([nowhere, here])) == (
        "a.mkb:1:2: no `b` (help: did you mean `a`?)\nthere is no file `c`"
    )
    assert str(InputError(nowhere)) == "there is no file `c`"
