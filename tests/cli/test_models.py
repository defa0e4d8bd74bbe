"""`mkb models add`: from a `config.json` to an entry of a catalogue file."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from murakkab.cli.main import cli

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-llama"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def mkb(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, [*map(str, arguments)], env={"NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_an_entry_goes_to_stdout(folder: Path) -> None:
    code, text, _ = mkb("models", "add", folder)
    (entry,) = tomllib.loads(text)["model"]
    assert (code, entry["name"], entry["layers"]) == (0, "tiny-llama", 22)
    assert entry["params_b"] == pytest.approx(1.1, rel=0.01)  # TinyLlama 1.1B


def test_entries_gather_in_a_file(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "mine.toml"
    to.write_text("# models of ours\n")
    assert mkb("models", "add", folder / "config.json", "-o", to)[0] == 0
    code, text, _ = mkb("models", "add", folder, "--name", "acme/tiny", "-o", to, "--json")
    told: dict[str, Any] = json.loads(text)
    assert (code, told["written"], told["model"]) == (0, str(to), "acme/tiny")
    assert to.read_text().startswith("# models of ours\n")
    names = [entry["name"] for entry in tomllib.loads(to.read_text())["model"]]
    assert names == ["tiny-llama", "acme/tiny"]
    assert mkb("catalog", "check", to)[0] == 0


def test_a_name_is_added_once(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "mine.toml"
    mkb("models", "add", folder, "-o", to)
    before = to.read_text()
    code, _, said = mkb("models", "add", folder, "-o", to)
    assert (code, to.read_text()) == (2, before)
    assert f"`{to}` has a model `tiny-llama` already" in said


def test_what_a_configuration_lacks(folder: Path) -> None:
    left = {key: value for key, value in CONFIG.items() if key not in ("vocab_size", "hidden_size")}
    (folder / "config.json").write_text(json.dumps(left))
    code, text, said = mkb("models", "add", folder)
    assert (code, text) == (2, "")
    assert "lack `hidden_size`, `vocab_size`" in said


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    code, _, said = mkb("models", "add", tmp_path / "nothing")
    assert code == 2
    assert "no such file" in said
