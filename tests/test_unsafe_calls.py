"""What turns data into code stands in no module but a few, each for a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "compiler", "grammar", "ir", "passes", "runtime", "targets")
# modules that are never imported, and names that are never called
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "joblib", "xmlrpc"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "numpy.load",
}
ALLOWED = {
    ("runtime/child.py", "pickle"): "what passes between a run and its own child processes",
    ("runtime/child_process.py", "pickle"): "the other end of that",
    ("runtime/executors/judge.py", "exec"): "code under test, in a process that reaches nothing",
    ("runtime/executors/judge.py", "compile"): "the same",
}


def found() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                yield from ((name, what) for what in unsafe(node))


def unsafe(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (n.name for n in names if n.name.partition(".")[0] in MODULES)
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
            yield module
        case ast.Call(func=function, keywords=keywords):
            called = ast.unparse(function)
            if called in CALLS:
                yield called
            for keyword in keywords:
                if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                    yield "shell"


def test_nothing_turns_data_into_code() -> None:
    assert [pair for pair in found() if pair not in ALLOWED] == []
