"""`mkb library` tells which model is meant, where a library says more than a name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.targets.model_files import entry, write_model

Mkb = Callable[..., Result]


def tiny(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a document says of the executor `tiny`."""
    (interface,) = document["interfaces"]
    (found,) = (row for row in interface["executors"] if row["name"] == "tiny")
    assert isinstance(found, dict)
    return found


def test_a_folder(
    mkb: Mkb,
    mkb_json: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "vllm.py").write_text("")  # nothing is run: it need only be there
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "l.toml").write_text(entry("./model"))
    write_model(tmp_path / "model")
    flags = ("library", "generate", "--library", "l.toml")
    assert f"tiny: {tmp_path}/model (4.1 k parameters, 8.19 kB)" in mkb(*flags).stdout
    row = tiny(mkb_json(*flags))
    assert (row["model"], row["revision"]) == (f"{tmp_path}/model", None)
    assert row["available"]

    (tmp_path / "model/model.safetensors").unlink()
    row = tiny(mkb_json(*flags))
    assert not row["available"]
    assert "no weights in `*.safetensors`" in row["missing"]
    assert f"tiny: {tmp_path}/model\n" in mkb(*flags).stdout


def test_a_revision(mkb: Mkb, mkb_json: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text(entry("Qwen/Qwen3-8B", revision="v2"))
    flags = ("library", "generate", "--library", "l.toml")
    assert "tiny: Qwen/Qwen3-8B at revision v2\n" in mkb(*flags).stdout
    row = tiny(mkb_json(*flags))
    assert (row["model"], row["revision"]) == ("Qwen/Qwen3-8B", "v2")
