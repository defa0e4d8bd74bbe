"""What the front end says about a program, in a form that tables of expectations can hold."""

from pathlib import Path

from murakkab.compiler.frontend import Checked, check_text
from murakkab.ir.diagnostics import CompileError, Diagnostic
from murakkab.ir.ops import Op
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.verifier import verify

TASKS = """\
task f(text: Text) -> Text "Change a text."
task g(text: Text) -> Bool "Judge a text."
task rec(note: { text: Text, n: Float }) -> { text: Text, n: Float } "Change a note."
effect task post(message: Text) -> Bool "Post a message." using webhook
"""


def program(body: str, params: str = "q: Text", result: str = "Text", clauses: str = "") -> str:
    """A file whose sole workflow has this body, each part on a line of its own."""
    return f"workflow main({params}) -> {result}\n{clauses}\n{{\n{body}\n}}\n{TASKS}"


def diagnostics(text: str, root: Path | None = None) -> tuple[Diagnostic, ...]:
    """The errors of a program, or its warnings where it has none."""
    try:
        return check_text(text, root=root).warnings
    except CompileError as error:
        return error.diagnostics


def found(text: str, *, ignore: tuple[str, ...] = ("unused-task",)) -> list[str]:
    """What is found, each as `line:column id`."""
    return [
        f"{d.span.line}:{d.span.column} {d.id}" if d.span is not None else f"- {d.id}"
        for d in diagnostics(text)
        if d.id not in ignore
    ]


def sound(text: str) -> Checked:
    """A program without errors, whose IR is valid and survives its text form."""
    checked = check_text(text)
    verify(checked.module)
    assert read_module(print_module(checked.module)) == checked.module
    return checked


def ops(text: str) -> list[Op]:
    """The operations of a sound program's first workflow, nested ones included."""
    return list(sound(text).module.workflows[0].walk())
