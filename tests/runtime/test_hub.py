"""What a hub's client raises, in words; and which commit reaches a model's server."""

import errno
from pathlib import Path

import huggingface_hub
import pytest

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.runtime import hub
from murakkab.runtime.binding import plan_executors
from murakkab.runtime.hub import FetchFailed, HubFile, Listing, fetch, look_up
from murakkab.runtime.serving.command import server_command
from murakkab.runtime.weights import ModelNeed, models_of
from murakkab.targets.library import load_library
from murakkab.targets.lock_file import Lock, LockedModel, lock_path
from murakkab.targets.plan import plan_from_json
from tests.targets.model_files import entry, write_project

MODEL, COMMIT = "Qwen/Qwen3-8B", "c" * 40


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(MODEL, COMMIT, {"model.safetensors": HubFile(1, None)})

    def full(*arguments: object, **options: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("a download failed") from error

    monkeypatch.setattr(hub, "look_up", lambda model, revision: listing)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(FetchFailed) as caught:
        fetch(MODEL, None, quiet=True)
    assert caught.value.message.startswith("the disk is full")
    assert "`HF_HOME`" in caught.value.help


@pytest.mark.parametrize("name", ["a/b/c", "a b", "..", "-x", "a--b", ""])
def test_names_that_no_hub_has_are_wrong_input(name: str) -> None:
    with pytest.raises(InputError) as caught:
        look_up(name, None)
    assert [d.id for d in caught.value.diagnostics] == ["unusable-model"]


def test_servers_are_started_with_the_locked_commit(tmp_path: Path) -> None:
    write_project(tmp_path, entry(MODEL, device="gpu"))
    libraries = (tmp_path / "library.toml",)
    library = load_library(libraries)
    locked = LockedModel(MODEL, None, COMMIT, {"model.safetensors": "d" * 64})
    lock_path(tmp_path / "ask.mkb").write_text(Lock(library.digest, (locked,)).to_json())
    compiled = compile_workflow(
        Request(tmp_path / "ask.mkb", "ask", "sim", tmp_path / "cluster.toml", libraries)
    )
    assert compiled.warnings == ()
    plan = plan_from_json(compiled.plan.to_json())  # as it comes from a file
    executors = plan_executors(plan, library)
    assert models_of(plan, executors) == (ModelNeed(MODEL, COMMIT, False, "tiny"),)
    (engine,) = plan.engines
    command = server_command(
        engine, executors["tiny"], MODEL, 0, memory_share=0.9, sleeps=False, environ={}
    )
    at = command.arguments.index("--revision")
    assert command.arguments[at + 1] == COMMIT
