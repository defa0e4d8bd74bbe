"""Golden files: text in, text out, the expected output carried by the file itself.

The first line is `// RUN: mkb ARGS` (`%s` stands for the file); the expected exit code and output
are the trailing lines that start with `//|`. `pytest tests/golden --update-golden` rewrites them.
"""

import math
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from murakkab.cli import live

HERE = Path(__file__).parent
CASES = sorted(p for p in HERE.rglob("*") if p.suffix in (".mkb", ".mkir"))


def run_case(path: Path) -> list[str]:
    from murakkab.cli.main import cli

    first = path.read_text().split("\n", 1)[0]
    assert first.startswith("// RUN: mkb "), f"{path}: the first line is not `// RUN: mkb …`"
    name = path.relative_to(HERE).as_posix()
    arguments = shlex.split(first.removeprefix("// RUN: mkb ").replace("%s", name))
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "100", "NO_COLOR": "1"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [f"exit {result.exit_code}", *result.output.rstrip("\n").split("\n")]


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.relative_to(HERE).as_posix())
def test_golden(
    path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)  # so that names in diagnostics are the same on every machine
    monkeypatch.setattr(live, "_LINE_EVERY_S", math.inf)  # lines that a slow machine would have
    lines = path.read_text().split("\n")
    source = [line for line in lines if not line.startswith("//|")]
    actual = [f"//| {line}".rstrip() for line in run_case(path)]
    if request.config.getoption("--update-golden"):
        while source and not source[-1]:
            source.pop()
        path.write_text("\n".join([*source, "", *actual]) + "\n")
        return
    assert [line for line in lines if line.startswith("//|")] == actual
