"""The house rules: who may import whom, what may be loaded when, how large a file may grow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALL = frozenset({"grammar", "ir", "compiler", "passes", "targets", "runtime", "cli"})
# What each folder may import beside itself; "" is the root, which nothing imports but the cli.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "grammar": frozenset(),
    "ir": frozenset({"grammar"}),
    "targets": frozenset({"ir"}),
    "passes": frozenset({"ir", "targets"}),
    "compiler": frozenset({"grammar", "ir", "passes", "targets"}),
    "runtime": frozenset({"ir", "targets"}),
    "cli": ALL | {""},
    "": ALL,
}
HEAVY = frozenset(
    "vllm torch transformers ray pynvml cv2 ortools sklearn scenedetect rapidocr"
    " rapidocr_onnxruntime onnxruntime pocketsphinx av matplotlib".split()
)
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
MAX_LINES = 400
# The only files that import by a computed name or run text, and what decides the name or text.
RUNS_WHAT_IS_NAMED = {
    "__init__.py": "a table of public names",
    "cli/main.py": "a table of commands",
    "targets/detect.py": "the name pynvml",
    "targets/oracle.py": "the name aiconfigurator_core.sdk",
    "runtime/nvml.py": "the name pynvml",
    "runtime/torch_models.py": "the module of a model's family, from a table of its own",
    "runtime/entries.py": "the shipped names, entry points, files given with --library or --metric",
    "runtime/child.py": "packages that the executor library says its function needs",
    "runtime/executors/judge.py": "the code under test, in the jail",
}


def package_files() -> list[Path]:
    """Return every Python file of the package, relative to the root."""
    found = list(ROOT.glob("*.py"))
    for folder in MAY_IMPORT:
        found += (ROOT / folder).rglob("*.py") if folder else ()
    return sorted(path.relative_to(ROOT) for path in found)


FILES = package_files()
TREES = {path: ast.parse((ROOT / path).read_text("utf-8"), str(path)) for path in FILES}


def folder_of(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


def imported(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute dotted name of every import, wherever it stands."""
    package = ["murakkab", *path.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def own_folder(name: str) -> str | None:
    """Return the folder of the package that a dotted name is in, "" for the root, else None."""
    parts = name.split(".")
    if parts[0] != "murakkab":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


def at_import_time(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported: no function bodies, no typing-only."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)


def test_every_folder_of_the_package_is_in_the_table() -> None:
    apart = {"tests", "docs", "benchmarks", "examples", "typings", "build", "dist"}
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - apart
    assert found == set(MAY_IMPORT) - {""}


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT), ids=lambda folder: folder or "root")
def test_folders_import_only_what_the_table_allows(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | {folder}
    broken = [
        f"{path}:{line} imports {name}"
        for path in FILES
        if folder_of(path) == folder
        for line, name in imported(path, TREES[path])
        if (own := own_folder(name)) is not None and own not in allowed
    ]
    assert broken == []


def test_imports_inside_the_package_are_relative_and_stay_inside() -> None:
    broken = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level > len(path.parts):
                broken.append(f"{path}:{node.lineno} leaves the package")
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            own = [name for name in names if name.split(".")[0] in {"murakkab", *MAY_IMPORT}]
            broken += [f"{path}:{getattr(node, 'lineno', 0)} imports {name}" for name in own]
    assert broken == []


def test_imports_are_acyclic_between_modules_at_import_time() -> None:
    """Follow what importing each module imports at once; a cycle works only by luck of order."""
    known = {".".join(["murakkab", *path.with_suffix("").parts]): path for path in FILES}
    edges = {
        name: {
            wanted
            for node in at_import_time(TREES[path])
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for _, full in imported(path, node)
            for wanted in (full, full.rpartition(".")[0])
            if wanted in known and wanted != name
        }
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for wanted in sorted(edges[name]):
                visit(wanted, (*above, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_heavy_packages_are_imported_only_where_they_are_used() -> None:
    broken = [
        f"{path}:{line} imports {name}"
        for path, tree in TREES.items()
        for node in at_import_time(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for line, name in imported(path, node)
        if name.split(".")[0] in HEAVY
    ]
    assert broken == [], "import them inside the function that needs them"


def test_only_these_files_import_by_a_computed_name_or_run_text() -> None:
    suspects = {"import_module", "__import__", "exec_module", "eval", "exec", "run_path"}
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, (ast.Name, ast.Attribute)):
                name = called.id if isinstance(called, ast.Name) else called.attr
                if name in suspects:
                    found.add(path.as_posix())
    assert found <= set(RUNS_WHAT_IS_NAMED)


def test_only_the_command_line_prints() -> None:
    broken = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if folder_of(path) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert broken == []


@pytest.mark.parametrize(
    "module",
    ["murakkab", "murakkab.cli.main", "murakkab.compiler.frontend", "murakkab.targets.plan"],
)
def test_starting_up_loads_nothing_heavy(module: str) -> None:
    unwanted = sorted(HEAVY | {"numpy", "networkx", "rich"})
    code = f"import sys, {module}; print([m for m in {unwanted} if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_no_file_outgrows_its_purpose() -> None:
    lines = {str(path): len((ROOT / path).read_text("utf-8").splitlines()) for path in FILES}
    assert {path: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_no_module_is_named_for_nothing_in_particular() -> None:
    assert [str(path) for path in FILES if VAGUE & {*path.parts, path.stem}] == []
