"""`mkb fmt`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]
MESSY = "workflow   w( a:Int )->Int{return a} // kept\n"


def test_files_are_rewritten_in_place_once(mkb: Mkb, tmp_path: Path) -> None:
    file = tmp_path / "a.mkb"
    file.write_text(MESSY)
    assert mkb("fmt", "a.mkb", "ask.mkb").output == ""
    text = file.read_text()
    assert text.startswith("workflow w(a: Int) -> Int {\n") and "// kept" in text
    mkb("fmt", "a.mkb")
    assert file.read_text() == text


def test_check_names_files_and_changes_none(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text(MESSY)
    out = mkb("fmt", "--check", "a.mkb", "ask.mkb", exit_code=1)
    assert out.stdout == "a.mkb: not formatted\n"
    assert (tmp_path / "a.mkb").read_text() == MESSY
    assert mkb("fmt", "--check", "ask.mkb").output == ""


def test_a_dash_is_stdin_and_stdout(mkb: Mkb) -> None:
    assert mkb("fmt", "-", input=MESSY).stdout.startswith("workflow w(a: Int) -> Int {\n")


def test_stdout_leaves_the_file_alone(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text(MESSY)
    assert mkb("fmt", "--stdout", "a.mkb").stdout.startswith("workflow w(a: Int)")
    assert (tmp_path / "a.mkb").read_text() == MESSY


def test_what_does_not_parse_is_left_alone(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text("workflow {")
    out = mkb("fmt", "a.mkb", exit_code=1)
    assert "--> a.mkb:1:10" in out.stderr
    assert (tmp_path / "a.mkb").read_text() == "workflow {"


def test_stdin_that_does_not_parse_is_quoted(mkb: Mkb) -> None:
    out = mkb("fmt", "-", input="workflow {", exit_code=1)
    assert "--> <stdin>:1:10" in out.stderr and "1 | workflow {" in out.stderr


def test_the_document_names_what_changed(mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text(MESSY)
    assert mkb_json("fmt", "a.mkb", "ask.mkb")["changed"] == ["a.mkb"]
    assert mkb_json("fmt", "a.mkb", "ask.mkb")["changed"] == []
