"""The outermost frame: help, exit codes, what goes where, and that nothing ends in a traceback."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from murakkab.cli.failures import failure_of
from murakkab.cli.main import COMMANDS
from murakkab.ir.diagnostics import CompileError, Diagnostic, InputError

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]


def run(*arguments: str, cwd: Path, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "murakkab", *arguments]
    root = str(Path(__file__).parents[2] / "typings")
    return subprocess.run(
        command,
        cwd=cwd,
        input=input,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"},
        timeout=120,
    )


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys\n"
        "from murakkab.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'lark', 'networkx', 'numpy', 'ortools', 'jsonschema', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print([m for m in sys.modules if m.startswith('murakkab.cli.')])\n"
    )
    root = str(Path(__file__).parents[2] / "typings")
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": root}
    ).stdout
    assert all(f"  {name} " in out for name in COMMANDS)
    *_, heavy, modules = out.strip().split("\n")
    assert heavy == "[]"
    assert not any(f"murakkab.cli.{name}'" in modules for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_the_group_says_what_help_of_the_command_says(name: str) -> None:
    command = import_module(f"murakkab.cli.{name}").command
    assert command.help.split("\n")[0] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_debug(name: str, mkb: Mkb) -> None:
    out = mkb(name, "--help").stdout
    assert "--json" in out and "--format" in out and "--debug" in out


@pytest.mark.parametrize(
    ("arguments", "message", "help"),
    [
        (["chek"], "no command `chek`", "did you mean `check`?"),
        (["check"], "`FILE...` is missing", "`mkb check --help` shows what there is"),
        (["check", "--jsn"], "no option `--jsn`", "did you mean `--json`?"),
        (["compile", "a.mkb", "-O3"], "no option `-O`", None),
        (["compile", "a.mkb", "--emit", "llvm"], "`--emit`: `llvm` is not one of", None),
        (["compile", "gone.mkb"], "there is no file `gone.mkb`", None),
        (["compile", "ask.mkb", "--target", "loacl"], "no target is named `loacl`", "`local`"),
        (["compile", "ask.mkb", "--passes", "fues"], "no pass is named `fues`", "`fuse`"),
        (["compile", "ask.mkb", "--cluster", "no.toml"], "no.toml", None),
        (["compile", "ask.mkb", "--minimize", "speed"], "--minimize", None),
        (
            ["compile", "ask.mkb", "--require", "gpus <= 1 { return 0 } workflow x() -> Int"],
            "it says more than one thing",
            None,
        ),
        (["compile", "ask.mkb", "--print-ir-after", "bnd"], "no pass is named `bnd`", "`bind`"),
        (["inspect", "gone.json"], "there is no file `gone.json`", None),
    ],
)
def test_a_wrong_command_line_is_exit_2(
    arguments: list[str], message: str, help: str | None, mkb_json: MkbJson
) -> None:
    (found,) = mkb_json(*arguments, exit_code=2)["diagnostics"]
    assert message in found["message"]
    assert help is None or help in found["help"]


def test_without_a_command_the_help_shows(mkb: Mkb, mkb_json: MkbJson) -> None:
    out = mkb(exit_code=2)
    assert "Commands:" in out.stderr and out.stdout == ""
    assert mkb_json(exit_code=2)["diagnostics"][0]["message"] == "no command is given"


def test_shared_flags_may_stand_before_the_command(mkb: Mkb) -> None:
    assert json.loads(mkb("--json", "check", "ask.mkb").stdout)["diagnostics"] == []


def test_an_error_goes_to_stderr_and_a_result_to_stdout(mkb: Mkb) -> None:
    wrong = mkb("check", "gone.mkb", exit_code=2)
    assert wrong.stdout == "" and "error[no-such-file]" in wrong.stderr
    right = mkb("check", "ask.mkb")
    assert right.stdout == "ask.mkb: no errors\n" and right.stderr == ""


@pytest.mark.parametrize(
    ("error", "code", "id"),
    [
        (CompileError([Diagnostic("a", "b")]), 1, "a"),
        (InputError(Diagnostic("a", "b")), 2, "a"),
        (PermissionError(13, "Permission denied", "x"), 2, "system-error"),
        (OSError(28, "No space left on device"), 2, "system-error"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("oh"), 1, "internal-error"),
    ],
)
def test_what_exceptions_mean(error: BaseException, code: int, id: str) -> None:
    failure = failure_of(error)
    assert failure.exit_code == code
    assert failure.diagnostics[0].id == id


def test_a_broken_pass_leaves_a_reproducer(
    mkb_json: MkbJson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from murakkab.passes.canonicalize import Canonicalize

    def broken(*_: object) -> None:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(Canonicalize, "run", broken)
    out = mkb_json("compile", "ask.mkb", exit_code=1)
    (found,) = out["diagnostics"]
    assert found["id"] == "pass-failed" and "bug in the compiler" in found["message"]
    kept = tmp_path / "mkb-reproducer-canonicalize.mkir"
    assert kept.name == out["reproducer"]
    assert kept.read_text().startswith("// RUN: mkb opt --passes 'canonicalize' %s\n")
    again = mkb_json("opt", kept.name, "--passes", "canonicalize", exit_code=1)
    assert again["diagnostics"][0]["id"] == "pass-failed"
    cluster = str(Path(__file__).parents[2] / "examples/clusters/laptop-cpu.toml")
    out = mkb_json("compile", "ask.mkb", "--cluster", cluster, "--target=sim", exit_code=1)
    flags = f"--cluster {cluster} --target=sim {kept.name}`"
    assert flags in out["diagnostics"][0]["help"]


def test_a_traceback_shows_only_when_asked_for(mkb: Mkb, monkeypatch: pytest.MonkeyPatch) -> None:
    import murakkab.compiler.frontend as frontend

    def broken(*_: object) -> None:
        raise IndexError("oh")

    monkeypatch.setattr(frontend, "check_file", broken)
    assert "Traceback" not in mkb("check", "ask.mkb", exit_code=1).output
    assert "Traceback" in mkb("check", "ask.mkb", "--debug", exit_code=1).output
    assert "Traceback" in mkb("--debug", "check", "ask.mkb", exit_code=1).output


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text("workflow w(a: Int) -> Int { return b }")
    wrong = run("check", "a.mkb", cwd=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.split("\n")[1] == " --> a.mkb:1:36"
    assert "\x1b" not in wrong.stderr
    formatted = run("fmt", "-", cwd=tmp_path, input="workflow w(a:Int)->Int{return a}")
    assert formatted.stdout == "workflow w(a: Int) -> Int {\n    return a\n}\n"
    document = json.loads(run("check", "--json", "a.mkb", cwd=tmp_path).stdout)
    assert document["diagnostics"][0]["line"] == 1


@pytest.mark.parametrize("arguments", ["library", "check --json gone.mkb"])
def test_a_reader_that_goes_away_is_no_error(arguments: str, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2] / "typings")
    script = f"{sys.executable} -m murakkab {arguments} | true; echo ${{PIPESTATUS[0]}}"
    out = subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"},
    )
    assert out.stderr == ""
    assert out.stdout in ("1\n", "0\n")  # it may have been done before the reader went


def test_the_version_is_told(mkb: Mkb, mkb_json: MkbJson) -> None:
    version = mkb_json("--version")["version"]
    assert mkb("--version").stdout == f"mkb, version {version}\n"
