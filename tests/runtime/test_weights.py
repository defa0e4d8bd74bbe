"""What belongs to a model, whether it is whole, and digests that are not computed twice."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from murakkab.runtime.weights import Digests, folder_files, missing_parts, needed_files
from tests.targets.model_files import safetensors, write_model


@pytest.mark.parametrize(
    ("names", "needed"),
    [
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["consolidated.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["original/model.safetensors", "model.safetensors"], ["model.safetensors"]),
        (
            [
                *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
                *("consolidated-00001-of-00001.safetensors", "model.safetensors"),
            ],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (
            ["2_Dense/model.safetensors", "model.safetensors"],
            ["2_Dense/model.safetensors", "model.safetensors"],
        ),
        (["consolidated.safetensors", "tekken.json"], ["consolidated.safetensors", "tekken.json"]),
        (["pytorch_model.bin", "a.pt", "b.pth", "c.pkl", "m.py", "x.gguf", "y.onnx"], []),
        ([".gitattributes", ".cache/huggingface/x.json"], []),
        (
            ["1_Pooling/config.json", "chat_template.jinja", "merges.txt", "qwen.tiktoken"],
            ["1_Pooling/config.json", "chat_template.jinja", "merges.txt", "qwen.tiktoken"],
        ),
        (["tokenizer.model", "README.md"], ["tokenizer.model"]),
    ],
)
def test_what_is_needed_of_a_model(names: list[str], needed: list[str]) -> None:
    assert needed_files(names) == needed


def test_what_a_folder_lacks(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    assert missing_parts(folder) == []
    index = folder / "model.safetensors.index.json"
    for garbled in ("{", "[]", '{"weight_map": 3}'):
        index.write_text(garbled)
        assert missing_parts(folder) == ["an index of weights in `model.safetensors.index.json`"]
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert missing_parts(folder) == ["`one.safetensors`", "`two.safetensors`"]
    index.unlink()
    (folder / "model.safetensors").unlink()
    assert missing_parts(folder) == ["weights in `*.safetensors`"]


def test_a_file_of_weights_ends_where_its_header_says(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    content = safetensors({"w": ("F32", [100], 4)})
    (folder / "model.safetensors").write_bytes(content)
    assert missing_parts(folder) == []
    (folder / "model.safetensors").write_bytes(content[:-1])
    assert missing_parts(folder) == ["the end of `model.safetensors`"]


def test_weights_that_are_not_needed_need_no_end(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "consolidated.safetensors").write_bytes(safetensors({"w": ("F32", [9], 4)})[:-1])
    assert missing_parts(folder) == []


@pytest.mark.parametrize("name", ["tokenizer.model", "preprocessor_config.json", "a.tiktoken"])
def test_families_have_their_own_processors(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").rename(folder / name)
    assert missing_parts(folder) == []


def test_files_of_a_folder_are_known_by_their_names_within(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    (folder / "notes.md").write_text("")
    names = ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]
    assert list(folder_files(folder)) == names


def test_digests_are_kept_by_time_and_size(tmp_path: Path) -> None:
    kept, file = tmp_path / "state/digests.json", tmp_path / "w"
    file.write_bytes(b"one")
    stamp = file.stat().st_mtime_ns
    assert Digests(kept).of_all({"w": file}) == {"w": hashlib.sha256(b"one").hexdigest()}
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp, stamp))  # as if it were the same: it is not read again
    assert Digests(kept).of(file) == hashlib.sha256(b"one").hexdigest()
    os.utime(file, ns=(stamp + 1, stamp + 1))
    assert Digests(kept).of(file) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_kept_digests_that_are_garbled_are_computed_again(tmp_path: Path, content: str) -> None:
    kept, file = tmp_path / "digests.json", tmp_path / "w"
    file.write_bytes(b"one")
    kept.write_text(content.replace("x", str(file)))
    assert Digests(kept).of(file) == hashlib.sha256(b"one").hexdigest()
