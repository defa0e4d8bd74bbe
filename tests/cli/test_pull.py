"""`mkb pull` and `mkb lock` as processes of their own, with a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.hub_server import FIRST, SECOND, Hub, serving
from tests.targets.model_files import LLAMA, entry, safetensors, write_model, write_project

ROOT = Path(__file__).parents[2]
MODEL = "Qwen/Qwen3-8B"  # its figures are in the catalogue; the files here are tiny
WEIGHTS = safetensors({"w": ("BF16", [8, 8], 2)})
OTHER_WEIGHTS = safetensors({"w": ("BF16", [8, 9], 2)})
FILES = {
    "README.md": b"about",
    "config.json": json.dumps(LLAMA).encode(),
    "model.safetensors": WEIGHTS,
    "model.fp32-00001-of-00001.safetensors": WEIGHTS,
    "pytorch_model.bin": b"code may hide here",
    "tokenizer.json": b"{}",
    "merges.txt": b"a b",
}
NEEDED = {"config.json", "model.safetensors", "tokenizer.json", "merges.txt"}
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    commits = {FIRST: FILES | {"model.safetensors": OTHER_WEIGHTS}, SECOND: FILES}
    with serving(Hub({MODEL: commits})) as found:
        yield found


@pytest.fixture
def mkb(tmp_path: Path, hub: Hub) -> Command:
    """Run a command in a folder with a workflow; compiling commands get the flags it needs."""
    flags = write_project(tmp_path, entry(MODEL, device="gpu"))

    def run(*arguments: str, exit_code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        environment = {
            **known,
            "PYTHONPATH": str(ROOT / "typings"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": hub.url,
            "COLUMNS": "200",
            "NO_PROXY": "127.0.0.1",
            **more,
        }
        given = flags if any(name.endswith(".mkb") for name in arguments) else ()
        done = subprocess.run(
            [sys.executable, "-m", "murakkab", arguments[0], *given, *arguments[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120.0,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == exit_code, done.stderr + done.stdout
        return done

    return run


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON document of a command."""
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lock_of(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "ask.lock").read_text())
    assert isinstance(document, dict)
    return document


# ---- pull


def test_what_is_needed_is_fetched_once(mkb: Command, hub: Hub) -> None:
    (row,) = told(mkb("pull", "ask.mkb", "--json"))["models"]
    assert (row["model"], row["commit"], row["executor"]) == (MODEL, SECOND, "tiny")
    assert row["bytes"] == row["fetched_bytes"] == sum(len(FILES[name]) for name in NEEDED)
    assert {p.name for p in Path(row["path"]).iterdir()} == NEEDED == set(hub.downloads)

    (again,) = told(mkb("pull", "ask.mkb", "--json"))["models"]
    assert (again["fetched_bytes"], again["path"]) == (0, row["path"])
    assert len(hub.downloads) == len(NEEDED)


def test_a_plan_can_be_pulled_and_a_dry_run_fetches_nothing(mkb: Command, hub: Hub) -> None:
    mkb("compile", "ask.mkb", "-o", "plan.json")
    arguments = ("pull", "plan.json", "--library", "library.toml", "--dry-run", "--json")
    (row,) = told(mkb(*arguments))["models"]
    assert (row["commit"], row["path"]) == (SECOND, None)
    assert row["fetched_bytes"] == row["bytes"]
    assert hub.downloads == []
    said = mkb("pull", "plan.json", "--library", "library.toml").stdout
    assert said.startswith(f"`{MODEL}` at `{SECOND[:12]}`: ")


def test_a_revision_is_honoured(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "library.toml").write_text(entry(MODEL, device="gpu", revision=FIRST))
    (row,) = told(mkb("pull", "ask.mkb", "--json"))["models"]
    assert (row["revision"], row["commit"]) == (FIRST, FIRST)
    assert (Path(row["path"]) / "model.safetensors").read_bytes() == OTHER_WEIGHTS


def test_offline_the_cache_must_have_all_of_it(mkb: Command, tmp_path: Path) -> None:
    said = mkb("pull", "ask.mkb", exit_code=3, HF_HUB_OFFLINE="1").stderr
    assert "error[fetch-failed]" in said and "`HF_HUB_OFFLINE` forbids" in said
    mkb("pull", "ask.mkb")
    assert SECOND[:12] in mkb("pull", "ask.mkb", HF_HUB_OFFLINE="1").stdout
    next((tmp_path / "hf").rglob("snapshots/*/model.safetensors")).unlink()
    mkb("pull", "ask.mkb", exit_code=3, HF_HUB_OFFLINE="1")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "RepoNotFound", f"has no model `{MODEL}`"),
        (403, "GatedRepo", "is gated"),
        (403, "", "(status 403)"),
        (503, "", "status 503"),
    ],
)
def test_what_the_hub_refuses(mkb: Command, hub: Hub, status: int, code: str, said: str) -> None:
    hub.refusals[MODEL] = (status, code)
    done = mkb("pull", "ask.mkb", exit_code=3)
    assert "error[fetch-failed]" in done.stderr and said in done.stderr
    assert "(executor `tiny`)" in done.stderr and "help: " in done.stderr
    document = told(mkb("pull", "ask.mkb", "--json", exit_code=3))
    assert [d["id"] for d in document["diagnostics"]] == ["fetch-failed"]
    assert document["models"] == []


def test_a_gated_model_can_be_locked_and_not_fetched(
    mkb: Command, hub: Hub, tmp_path: Path
) -> None:
    hub.gated.add(MODEL)
    said = mkb("pull", "ask.mkb", exit_code=3).stderr
    assert "is gated" in said and f"accept them at {hub.url}/{MODEL}, and set `HF_TOKEN`" in said
    mkb("lock", "ask.mkb")
    assert lock_of(tmp_path)["models"][0]["revision"] == SECOND


def test_a_revision_that_is_not_there(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "library.toml").write_text(entry(MODEL, device="gpu", revision="v9"))
    assert "has no revision `v9`" in mkb("pull", "ask.mkb", exit_code=3).stderr


def test_a_hub_that_cannot_be_reached(mkb: Command) -> None:
    said = mkb("pull", "ask.mkb", exit_code=3, HF_ENDPOINT="http://127.0.0.1:9").stderr
    assert f"cannot fetch model `{MODEL}` from http://127.0.0.1:9" in said


def test_weights_that_may_run_code_are_not_fetched(mkb: Command, hub: Hub) -> None:
    names = ("config.json", "pytorch_model.bin", "tokenizer.json")
    hub.repositories[MODEL] = {FIRST: {name: FILES[name] for name in names}}
    assert "has no weights in `*.safetensors`" in mkb("pull", "ask.mkb", exit_code=3).stderr
    assert hub.downloads == []


def test_folders_must_be_whole(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "library.toml").write_text(entry("./model", device="gpu"))
    folder = write_model(tmp_path / "model")
    (row,) = told(mkb("pull", "ask.mkb", "--json"))["models"]
    assert (row["model"], row["commit"], row["fetched_bytes"]) == (str(folder), None, 0)

    shards = {"a": "model.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "tokenizer.json").unlink()
    said = mkb("pull", "ask.mkb", exit_code=2).stderr
    assert "lacks `model-2.safetensors`, a tokenizer" in said


def test_weights_that_are_cut_are_not_whole(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "library.toml").write_text(entry("./model", device="gpu"))
    weights = write_model(tmp_path / "model") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "lacks the end of `model.safetensors`" in mkb("pull", "ask.mkb", exit_code=2).stderr


def test_a_plan_without_models_needs_nothing(mkb: Command, tmp_path: Path, hub: Hub) -> None:
    text = (tmp_path / "ask.mkb").read_text()
    (tmp_path / "ask.mkb").write_text(text.replace("= reply(question)", "= question //"))
    assert "no models" in mkb("pull", "ask.mkb").stdout
    assert hub.asked == []


# ---- lock


def test_a_lock_holds_commit_and_digests_and_is_the_same_again(
    mkb: Command, tmp_path: Path, hub: Hub
) -> None:
    mkb("lock", "ask.mkb")
    assert hub.downloads == []  # the hub knows the digests
    (model,) = lock_of(tmp_path)["models"]
    expected = {"model.safetensors": digest(WEIGHTS)}
    assert model == {"model": MODEL, "asked": None, "revision": SECOND, "files": expected}
    first = (tmp_path / "ask.lock").read_bytes()
    (tmp_path / "ask.lock").unlink()
    mkb("pull", "ask.mkb")
    mkb("lock", "ask.mkb", HF_HUB_OFFLINE="1")  # now they are those of the files here
    assert (tmp_path / "ask.lock").read_bytes() == first


def test_plans_name_the_locked_commit_when_the_hub_goes_on(mkb: Command, hub: Hub) -> None:
    mkb("lock", "ask.mkb")
    hub.repositories[MODEL]["3" * 40] = FILES | {"model.safetensors": OTHER_WEIGHTS}
    plan = told(mkb("compile", "ask.mkb", "--json"))
    assert plan["diagnostics"] == []
    assert [engine["revision"] for engine in plan["plan"]["engines"]] == [SECOND]
    (row,) = told(mkb("pull", "ask.mkb", "--json"))["models"]
    assert row["commit"] == SECOND
    told(mkb("lock", "ask.mkb", "--json"))
    plan = told(mkb("compile", "ask.mkb", "--json"))
    assert [engine["revision"] for engine in plan["plan"]["engines"]] == ["3" * 40]


def test_a_lock_of_another_library_is_a_warning(mkb: Command, tmp_path: Path) -> None:
    mkb("lock", "ask.mkb")
    (tmp_path / "library.toml").write_text(entry(MODEL, device="gpu", revision=FIRST))
    document = told(mkb("compile", "ask.mkb", "--json"))
    found = document["diagnostics"]
    assert [(d["id"], d["severity"]) for d in found] == [("stale-lock", "warning")] * 2
    assert "does not have model" in found[1]["message"]
    assert [engine["revision"] for engine in document["plan"]["engines"]] == [FIRST]


def test_a_lock_that_is_none_is_refused(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "ask.lock").write_text("{")
    assert "error[invalid-lock]" in mkb("compile", "ask.mkb", exit_code=2).stderr
    mkb("lock", "ask.mkb")
    mkb("compile", "ask.mkb")


def test_only_workflows_are_locked(mkb: Command) -> None:
    assert "beside a `.mkb` file" in mkb("lock", "plan.json", exit_code=2).stderr


def test_a_lock_that_cannot_be_made_leaves_the_old_one(
    mkb: Command, tmp_path: Path, hub: Hub
) -> None:
    mkb("lock", "ask.mkb")
    before = (tmp_path / "ask.lock").read_bytes()
    hub.broken = 500
    mkb("lock", "ask.mkb", exit_code=3)
    assert (tmp_path / "ask.lock").read_bytes() == before


def test_changed_weights_stop_a_run_before_it_starts(mkb: Command, tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text("")  # enough for the compiler; nothing is to start
    (tmp_path / "library.toml").write_text(entry("./model"))
    folder = write_model(tmp_path / "model")
    here = {"PYTHONPATH": f"{ROOT / 'typings'}{os.pathsep}{tmp_path}"}
    mkb("lock", "ask.mkb")
    (locked,) = lock_of(tmp_path)["models"]
    assert (locked["model"], locked["revision"]) == ("./model", None)
    assert set(locked["files"]) == {"config.json", "model.safetensors", "tokenizer.json"}

    write_model(folder, LLAMA, {"w": ("F32", [32, 64], 4)})
    run = ("run", "ask.mkb", "--input", "question=Why?", "--json")
    document = told(mkb(*run, *("--target", "vllm"), exit_code=2, **here))
    assert [d["id"] for d in document["diagnostics"]] == ["changed-weights"]
    (found,) = document["diagnostics"]
    assert "`./model` is not what `ask.lock` was written for" in found["message"]
    assert "`model.safetensors` has changed" in found["message"]
    assert "mkb lock ask.mkb" in found["help"]
    assert not (tmp_path / ".murakkab/runs").exists()


def test_weights_in_the_cache_that_were_changed_are_found(mkb: Command, tmp_path: Path) -> None:
    mkb("pull", "ask.mkb")
    mkb("lock", "ask.mkb")
    blob = next((tmp_path / "hf").rglob("snapshots/*/model.safetensors")).resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    document = told(mkb("up", "ask.mkb", "--json", exit_code=2))
    assert [d["id"] for d in document["diagnostics"]] == ["changed-weights"]
