"""The manual says what the code does: links, commands, flags, diagnostics, tables, snippets."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from murakkab.cli.main import COMMANDS, cli
from murakkab.compiler.frontend import check_text
from murakkab.compiler.imports import STD_FOLDER
from murakkab.ir.ops import LEVELS, OPS
from murakkab.ir.verifier import RULES
from murakkab.passes.pipeline import LEVELS as PIPELINES
from murakkab.passes.pipeline import REGISTRY
from murakkab.runtime.record import run_schema
from murakkab.targets.plan import plan_schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}
SOURCES = [
    path
    for folder in ("cli", "compiler", "ir", "passes", "runtime", "targets")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
KEBAB = re.compile(r"[a-z]+(-[a-z]+)+")
# Functions whose first argument is the id of a diagnostic.
REPORTERS = {"Diagnostic", "_Finding", "_report", "error", "finding", "warn"}
# Ids made at run time, and ids that are one word.
COMPUTED = {
    *(f"unknown-{kind}" for kind in ("metric", "percentile", "tier")),
    *(f"expected-{kind}" for kind in ("clause", "declaration")),
    *(f"{what}-{end}" for what in ("missing", "misplaced") for end in ("return", "yield")),
    *(f"ir-{rule.name}" for rule in RULES),
    *("infeasible", "interrupted", "run-failed", "usage"),
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield page and content of every fenced block of a language."""
    for name, text in TEXTS.items():
        for found, body in FENCE.findall(text):
            if found == language:
                yield name, body


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: str) -> list[list[str]]:
    """Return the cells of every table row of a page; backslashed bars do not divide."""
    lines = [line for line in TEXTS[page].splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines
    ]


def first_column(page: str) -> set[str]:
    return {name for row in rows(page) for name in re.findall(r"`([^`]+)`", row[0])}


def op_row(kind: str) -> list[str]:
    """Return a row of the table of operations, as `ir/ops.py` has it."""
    spec = OPS[kind]
    levels = "all" if spec.levels == LEVELS else ", ".join(spec.levels)
    return [
        f"`{kind}`",
        "any" if spec.operands is None else str(spec.operands),
        str(spec.regions),
        " ".join(f"`{name}`" for name in spec.attrs),
        levels,
    ]


def std_rows() -> Iterator[list[str]]:
    """Yield a row for each task of the standard library: module, signature, description."""
    task = re.compile(r'^(effect )?task (.+?)\s+"(.+?)"', re.MULTILINE)
    for path in sorted(STD_FOLDER.glob("*.mkb")):
        for effect, signature, description in task.findall(path.read_text("utf-8")):
            yield [f"`std/{path.stem}`", f"`{effect}{signature}`", description]


def commands(group: click.Group, name: str = "mkb") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        yield f"{name} {child}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {child}")


def test_every_page_is_in_the_map() -> None:
    linked = set(LINK.findall(TEXTS["index.md"]))
    assert {page.name for page in PAGES} - {"index.md"} <= linked


@pytest.mark.parametrize("name", TEXTS)
def test_links_resolve(name: str) -> None:
    for link in LINK.findall(FENCE.sub("", TEXTS[name])):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (DOCS / target).resolve() if target else DOCS / name
        assert path.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), f"{name} links to {link}"


def console_commands() -> list[tuple[str, str]]:
    found = []
    for name, body in blocks("console"):
        found += [(name, line[2:]) for line in body.splitlines() if line.startswith("$ mkb")]
    return found


@pytest.mark.parametrize(("name", "line"), console_commands())
def test_commands_parse(name: str, line: str) -> None:
    words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="mkb")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        child = command.get_command(context, words[0])
        assert child is not None, f"{name}: {line}"
        command, words = child, words[1:]
    command.make_context("mkb", words)  # raises a usage error where a flag does not exist


def test_every_command_and_flag_is_documented() -> None:
    text = TEXTS["cli.md"]
    assert {f"mkb-{name}" for name in COMMANDS} <= anchors(text)
    known = {"--version", "--help", "-h"}
    for name, command in commands(cli):
        assert name in text
        known |= {flag for p in command.params if isinstance(p, click.Option) for flag in p.opts}
    stated = set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", FENCE.sub("", text)))
    assert known == stated


def diagnostic_ids() -> set[str]:
    """Return the ids the code gives findings, read from its calls."""
    found = set(COMPUTED)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if function in REPORTERS and isinstance(first, ast.Constant):
                text = first.value
                if isinstance(text, str) and KEBAB.fullmatch(text):
                    found.add(text)
    return found


def test_every_diagnostic_is_documented_and_exists() -> None:
    stated = first_column("diagnostics.md")
    assert diagnostic_ids() == stated


def test_goldens_show_no_other_diagnostic() -> None:
    golden = "".join(p.read_text("utf-8") for p in (ROOT / "tests/golden").rglob("*.mk*"))
    shown = set(re.findall(r"^//\| (?:error|warning)\[([a-z-]+)\]", golden, re.MULTILINE))
    assert shown <= first_column("diagnostics.md")


def test_table_of_operations() -> None:
    stated = [row for row in rows("compiler.md") if len(row) == 5 and row[0].startswith("`")]
    assert [op_row(kind) for kind in OPS] == stated


def test_standard_library() -> None:
    stated = [row for row in rows("language.md") if row[0].startswith("`std/")]
    assert list(std_rows()) == stated


def test_passes_and_levels() -> None:
    text = TEXTS["compiler.md"]
    assert {f"pass-{name}" for name in REGISTRY} <= anchors(text)
    for level, pipeline in PIPELINES.items():
        assert f"| `-O{level}` | `{pipeline}` |" in text
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.demands} |" in text


def keys_of(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "properties":
                yield from inner
            yield from keys_of(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from keys_of(inner)


@pytest.mark.parametrize("name", ["cluster", "library", "lock", "plan", "run"])
def test_formats_name_every_key(name: str) -> None:
    schemas = {"plan": plan_schema, "run": run_schema}
    text = (ROOT / "targets/schemas" / f"{name}.json").read_text("utf-8")
    schema = schemas[name]() if name in schemas else json.loads(text)
    quoted = re.findall(r"`[^`]+`", FENCE.sub("", TEXTS["formats.md"]))
    assert set(keys_of(schema)) <= set(re.findall(r"\w+", " ".join(quoted)))


def test_the_readme_shows_the_example_and_links_to_what_exists() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert (ROOT / "examples/video_qa/video_qa.mkb").read_text("utf-8") in readme
    assert [link for link in LINK.findall(readme) if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(("name", "body"), [*blocks("mkb")])
def test_programs_are_correct(name: str, body: str) -> None:
    checked = check_text(body, name)
    assert checked.workflow_names
    assert not checked.warnings


@pytest.mark.parametrize(("name", "body"), [*blocks("python")])
def test_python_compiles(name: str, body: str) -> None:
    compile(body, name, "exec")


def run_line(line: str) -> tuple[int, str]:
    """Run a command line of the manual; return its exit code and what it printed on stdout."""
    result = CliRunner().invoke(cli, shlex.split(line)[1:], env={"NO_COLOR": "1"})
    return result.exit_code, result.stdout


def test_the_example_of_an_own_executor_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section = TEXTS["extending.md"].partition("## A shipped executor")[0]
    found = FENCE.findall(section)
    names = {"mkb": "tickets.mkb", "toml": "library.toml", "python": "tools.py"}
    for language, body in found:
        name = names.get(language, "profile.csv")
        if language != "console":
            (tmp_path / name).write_text(body)
    for language, body in found:
        if language != "console":
            continue
        *before, (line, shown) = [
            (part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in body.split("$ ")[1:]
        ]
        for earlier, _ in before:
            assert run_line(earlier)[0] == 0
        code, printed = run_line(line)
        assert code == 0
        assert shown in ("", printed)


def test_the_tutorial_shows_what_new_writes(tmp_path: Path) -> None:
    assert run_line(f"mkb new {tmp_path / 'demo'}")[0] == 0
    written = (tmp_path / "demo/ask.mkb").read_text()
    assert written in [body for name, body in blocks("mkb") if name == "tutorial.md"]


def test_the_tutorial_s_requirements_contradict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_line(f"mkb new {tmp_path / 'demo'}")[0] == 0
    monkeypatch.chdir(tmp_path / "demo")
    lines = [line for name, line in console_commands() if name == "tutorial.md"]
    tight, loose = [line for line in lines if "--require" in line]
    code, printed = run_line(f"{tight} --json")
    assert code == 1
    assert [d["id"] for d in json.loads(printed)["diagnostics"]] == ["infeasible"]
    assert run_line(loose)[0] == 0
