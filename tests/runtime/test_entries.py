"""Names become functions in three ways only: shipped, entry points, a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from murakkab.runtime.entries import load, source_of
from murakkab.runtime.errors import CallFailed
from murakkab.targets.library import load_library


def test_a_shipped_name_is_its_function() -> None:
    assert load(("answer", None))(query="who", context=["nobody"]) == "not found in the context"


def test_every_python_executor_of_the_shipped_library_has_code_of_its_own() -> None:
    from murakkab.runtime.entries import _SHIPPED

    entries = {e.entry for e in load_library().executors if e.runner == "python"}
    assert entries <= set(_SHIPPED)


def test_an_installed_package_brings_executors_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[murakkab.executors]\ndouble = others_code:double\nnumber = others_code:number\n"
        "gone = others_code:gone\n"
    )
    (tmp_path / "others_code.py").write_text("def double(x):\n    return 2 * x\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load(("double", None))(4) == 8
    with pytest.raises(CallFailed, match="`number` is not a function"):
        load(("number", None))
    with pytest.raises(CallFailed, match="`gone` cannot be"):
        load(("gone", None))


@pytest.mark.parametrize("name", ["os:system", "murakkab.runtime.child:main", "system"])
def test_nothing_else_is_imported_by_name(name: str) -> None:
    with pytest.raises(CallFailed, match="no installed package has an entry point"):
        load((name, None))


def test_a_users_file_stands_beside_its_library(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def shout(x):\n    return x.upper()\n")
    (tmp_path / "mine.toml").write_text(
        '[[executor]]\nname = "shouter"\nimplements = "translate"\ndescription = "shouts"\n'
        'runner = "python"\nentry = "shout"\nfile = "mine.py"\n'
        'quality = { value = 0.5, metric = "relative", source = "test" }\n'
    )
    (executor,) = load_library([tmp_path / "mine.toml"], shipped=False).executors
    source = source_of(executor)
    assert source == ("shout", str(tmp_path / "mine.py"))
    assert load(source)("hey") == "HEY"
