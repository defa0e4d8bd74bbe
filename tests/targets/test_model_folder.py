"""Models in folders: which names are folders, and what cannot be one is an `InputError`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.targets.library import load_library
from murakkab.targets.model_folder import (
    config_digest,
    is_folder,
    model_location,
    names_folder,
)

from .model_files import LLAMA, entry, model_at, safetensors, write_model, write_project


@pytest.mark.parametrize("name", ["./m", "../m", "/m", "~/m", ".", ".."])
def test_folders_are_told_from_names_on_a_hub(name: str) -> None:
    assert names_folder(name)
    assert not names_folder("owner/model")
    assert not names_folder(".m")


def test_the_context_of_a_model_is_its_executor_s(tmp_path: Path) -> None:
    write_model(tmp_path / "model", LLAMA | {"max_position_embeddings": 777})
    library = tmp_path / "library.toml"
    library.write_text(entry("./model").replace("context = 4096\n", ""))
    executor = load_library([library], shipped=False).get("tiny")
    assert executor is not None and executor.context_tokens == 777


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("~nobody-of-this-name/m", "~nobody-of-this-name/m`: it does not exist"),
        ("./" + "x" * 300, "file name too long"),
        ("./library.toml", "it is no folder"),
    ],
)
def test_names_that_no_folder_has(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        model_at(tmp_path, name)
    assert [d.id for d in caught.value.diagnostics] == ["unusable-model"]
    assert said in caught.value.diagnostics[0].message


@pytest.mark.parametrize("name", ["./a\\u0000b", "~a\\u0000b", "owner/a\\u0000b"])
def test_a_nul_in_a_name_is_told_where_it_stands(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="`model` holds a NUL character") as caught:
        model_at(tmp_path, name)
    (finding,) = caught.value.diagnostics
    assert (finding.id, str(finding.span)) == ("bad-value", f"{tmp_path / 'library.toml'}:6:9")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Let the permissions of files hold for the superuser too, and who they belong to not."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("name", ["", "config.json", "model.safetensors"])
def test_a_folder_that_cannot_be_read(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = write_model(Path(place) / "model") / name
        path.chmod(0)
        with pytest.raises(InputError) as caught:
            model_at(Path(place))
        path.chmod(0o700)
    assert [d.id for d in caught.value.diagnostics] == ["unusable-model"]
    assert caught.value.diagnostics[0].message.endswith("permission denied")


def test_a_path_that_is_sent_elsewhere_is_no_folder_here(tmp_path: Path) -> None:
    text = entry("./model").replace('runner = "vllm"', 'runner = "openai"')
    text = text.replace('devices = ["cpu"]', 'devices = ["remote"]').replace("context = 4096", "")
    library = tmp_path / "library.toml"
    library.write_text(text + 'settings = { url = "http://127.0.0.1:1/v1" }\n')
    digests = set()
    for layers in (2, 3):  # what lies here by the same name is another model
        write_model(tmp_path / "model", LLAMA | {"num_hidden_layers": layers})
        executor = load_library([library], shipped=False).get("tiny")
        assert executor is not None and executor.context_tokens is None
        assert not is_folder(executor) and model_location(executor) == "./model"
        digests.add(executor.digest)
    assert len(digests) == 1


def test_a_folder_is_beside_the_library_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "models/a")
    (tmp_path / "libraries").mkdir()
    library = tmp_path / "libraries/l.toml"
    library.write_text(entry("../models/a"))
    monkeypatch.chdir("/")
    executor = load_library([library]).get("tiny")
    assert executor is not None
    assert Path(model_location(executor)).resolve() == tmp_path / "models/a"


def test_a_folder_s_figures_are_read_again_when_it_has_changed(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    before = model_at(tmp_path)
    digest = config_digest("./model", tmp_path)
    write_model(tmp_path / "model", LLAMA | {"num_hidden_layers": 11})
    assert (before.layers, model_at(tmp_path).layers) == (2, 11)
    assert config_digest("./model", tmp_path) != digest


def test_another_configuration_is_another_executor(tmp_path: Path) -> None:
    library = tmp_path / "library.toml"
    library.write_text(entry("./model"))
    digests = []
    for layers in (2, 3):
        write_model(tmp_path / "model", LLAMA | {"num_hidden_layers": layers})
        digests.append(load_library([library]).digest)
    assert digests[0] != digests[1]


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    with pytest.raises(InputError, match="this one is a folder"):
        model_at(tmp_path, revision="main")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "no such file"),
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b"[]", "no JSON object"),
        ("config.json", b"{}", "lack `hidden_size`"),
        ("model.safetensors", None, "no weights"),
        ("model.safetensors", b"", "no safetensors file"),
        ("model.safetensors", b"\xff" * 8, "no safetensors file"),
        ("model.safetensors", safetensors({}), "holds no weights"),
        ("model.safetensors", safetensors({"w": ("F3", [1], 1)}), "no safetensors file"),
        ("model.safetensors", safetensors({"w": ("F32", [-1], 0)}), "no safetensors file"),
    ],
)
def test_what_is_wrong_with_a_folder(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = write_model(tmp_path / "model") / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        model_at(tmp_path)
    assert [d.id for d in caught.value.diagnostics] == ["unusable-model"]
    assert said.lower() in caught.value.diagnostics[0].message.lower()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        model_at(tmp_path)
    (tmp_path / "model").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        model_at(tmp_path)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_model_in_a_folder_is_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    write_project(tmp_path, entry("./model", device=device))
    request = Request(
        source=Path("ask.mkb"),
        target="sim",
        cluster=Path("cluster.toml"),
        libraries=(Path("library.toml"),),
    )
    (engine,) = compile_workflow(request).plan.engines
    assert (engine.executor, engine.device, engine.revision) == ("tiny", device, None)
    assert len(engine.places) == 1
    assert engine.loads_model
