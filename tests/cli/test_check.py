"""`mkb check`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]


def test_every_file_is_checked_and_every_error_told(mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text("workflow a(x: Int) -> Int { return y }")
    (tmp_path / "b.mkb").write_text("workflow b(x: Int) -> Int {\n    return z\n}")
    out = mkb_json("check", "a.mkb", "ask.mkb", "b.mkb", exit_code=1)
    assert [(d["file"], d["line"]) for d in out["diagnostics"]] == [("a.mkb", 1), ("b.mkb", 2)]
    assert out["workflows"] == {"ask.mkb": ["ask"]}


def test_stdin_is_checked_as_a_file_of_the_working_folder(mkb: Mkb) -> None:
    text = "workflow b(x: Int) -> Int {\n    return z\n}"
    assert "--> <stdin>:2:12" in mkb("check", "-", input=text, exit_code=1).stderr
    imported = 'import "ask.mkb"\nworkflow b(x: Int) -> Int { return x }'
    assert mkb("check", "-", input=imported).stdout == "<stdin>: no errors\n"


def test_a_missing_file_outweighs_a_wrong_one(mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text("workflow")
    out = mkb_json("check", "a.mkb", "gone.mkb", exit_code=2)
    assert {d["id"] for d in out["diagnostics"]} >= {"no-such-file"}
    assert len(out["diagnostics"]) == 2


def test_several_findings_are_counted(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "a.mkb").write_text("workflow a() -> Int { x = y\n z = q\n return 1 }")
    assert "found 2 errors" in mkb("check", "a.mkb", exit_code=1).stderr


def test_of_hundreds_of_findings_the_first_are_shown(mkb: Mkb, tmp_path: Path) -> None:
    lines = "".join(f" x{n} = y{n}\n" for n in range(300))
    (tmp_path / "a.mkb").write_text(f"workflow a() -> Int {{\n{lines} return 1 }}")
    said = mkb("check", "a.mkb", exit_code=1).stderr
    assert said.count("error[unknown-name]") == 200
    assert "found 300 errors; these are the first 200" in said


def test_sources_that_are_no_text(mkb_json: MkbJson, tmp_path: Path) -> None:
    wrong = {
        "nul.mkb": b"workflow\0",
        "latin.mkb": "// caf\u00e9".encode("latin-1"),
        "big.mkb": b"/" * ((1 << 20) + 1),
        "deep.mkb": b"workflow w() -> Int { return " + b"(" * 10_000 + b"1" + b")" * 10_000 + b" }",
    }
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        out = mkb_json("check", name, exit_code=1)
        assert out["diagnostics"][0]["file"] == name
