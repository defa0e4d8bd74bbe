"""Locks: one text for the same content, and only documents of the published form are read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.ir.diagnostics import InputError
from murakkab.targets.library import load_library
from murakkab.targets.lock_file import (
    Lock,
    LockedModel,
    load_lock,
    lock_from_json,
    lock_path,
    pinned,
    stale,
)

from .model_files import entry, write_model

COMMIT, DIGEST = "c" * 40, "d" * 64
HUB = LockedModel("Qwen/Qwen3-8B", None, COMMIT, {"model.safetensors": DIGEST})
FOLDER = LockedModel("./models/a", None, None, {"b": DIGEST, "a": DIGEST})


def library_at(path: Path, text: str) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_library([path], shipped=False)


def test_the_text_does_not_depend_on_the_order() -> None:
    text = Lock(DIGEST, (HUB, FOLDER)).to_json()
    turned = replace(FOLDER, files={"a": DIGEST, "b": DIGEST})
    assert Lock(DIGEST, (turned, HUB)).to_json() == text
    assert text.index("./models/a") < text.index("Qwen") and text.endswith("}\n")
    read = lock_from_json(text.encode(), Path("l"))
    assert set(m.model for m in read.models) == {HUB.model, FOLDER.model}
    assert read.to_json() == text


def test_a_lock_is_beside_its_workflow(tmp_path: Path) -> None:
    workflow = tmp_path / "a.b.mkb"
    assert lock_path(workflow).name == "a.b.lock"
    assert load_lock(workflow) is None
    lock_path(workflow).write_text(Lock(DIGEST, (HUB,)).to_json())
    assert load_lock(workflow) == Lock(DIGEST, (HUB,))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "murakkab/lock/2"),
        (("library",), "short"),
        (("models",), {}),
        (("more",), 1),
        (("models", 0, "model"), ""),
        (("models", 0, "revision"), "main"),
        (("models", 0, "revision"), "--help"),
        (("models", 0, "files"), {}),
        (("models", 0, "files"), {"w": DIGEST.upper()}),
        (("models", 0, "more"), 1),
    ],
)
def test_what_is_no_lock(path: tuple[str | int, ...], value: Any) -> None:
    document = json.loads(Lock(DIGEST, (HUB,)).to_json())
    at = document
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    with pytest.raises(InputError) as caught:
        lock_from_json(json.dumps(document).encode(), Path("ask.lock"))
    (found,) = caught.value.diagnostics
    assert found.id == "invalid-lock" and found.message.startswith("cannot use lock `ask.lock`: ")


@given(content=st.binary(max_size=40) | st.just(b"[" * 100_000) | st.just(b"null"))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        lock_from_json(content, Path("ask.lock"))


def test_a_folder_is_known_by_its_place_beside_the_lock(tmp_path: Path) -> None:
    write_model(tmp_path / "work/models/a")
    library = library_at(tmp_path / "libraries/l.toml", entry("../work/models/a"))
    executor = library.get("tiny")
    assert Lock(DIGEST, (FOLDER,)).of(executor, tmp_path / "work") == FOLDER
    assert Lock(DIGEST, (FOLDER,)).of(executor, tmp_path) is None
    above = replace(FOLDER, model="../work/models/a")
    assert Lock(DIGEST, (above,)).of(executor, tmp_path / "libraries") == above


@pytest.mark.parametrize(
    ("asked", "locked", "expected"),
    [
        (None, HUB, COMMIT),
        ("main", replace(HUB, asked="main"), COMMIT),
        ("main", HUB, "main"),  # another revision is asked for than was locked
        (COMMIT, HUB, COMMIT),  # the library has come to name the very commit
        (None, replace(HUB, model="Qwen/Qwen3-14B"), None),
    ],
)
def test_models_are_pinned_to_what_was_locked_for_them(
    tmp_path: Path, asked: str | None, locked: LockedModel, expected: str | None
) -> None:
    library = library_at(tmp_path / "l.toml", entry(HUB.model, revision=asked))
    found = pinned(library, Lock(library.digest, (locked,)), tmp_path)
    assert [executor.revision for executor in found.executors] == [expected]
    assert found.digest == library.digest
    assert pinned(found, Lock(library.digest, (locked,)), tmp_path) == found


def test_a_stale_lock_is_told_of(tmp_path: Path) -> None:
    library = library_at(tmp_path / "l.toml", entry(HUB.model, revision="v2"))
    path = tmp_path / "ask.lock"
    fresh = Lock(library.digest, (replace(HUB, asked="v2"),))
    assert stale(fresh, path, library, library.executors) == ()
    changed, missing = stale(Lock(DIGEST, (HUB,)), path, library, library.executors)
    assert {changed.severity, missing.severity} == {"warning"}
    assert "library has changed" in changed.message
    assert "does not have model `Qwen/Qwen3-8B` at revision `v2`" in missing.message
