"""Models in folders: figures from their own files, and what cannot be one is an `InputError`."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import Model
from murakkab.targets.library import load_library
from murakkab.targets.model_folder import (
    config_digest,
    folder_model,
    is_folder,
    model_location,
    names_folder,
)
from murakkab.targets.safetensors_file import read_header

from .model_files import LLAMA, entry, safetensors, write_model, write_project


def model_at(folder: Path, model: str = "./model", revision: str | None = None) -> Model:
    """Read the model that a library in a folder names."""
    library = folder / "library.toml"
    library.write_text(entry(model, revision=revision))
    executor = load_library([library], shipped=False).get("tiny")
    assert executor is not None
    return folder_model(executor)


@pytest.mark.parametrize("name", ["./m", "../m", "/m", "~/m", ".", ".."])
def test_folders_are_told_from_names_on_a_hub(name: str) -> None:
    assert names_folder(name)
    assert not names_folder("owner/model")
    assert not names_folder(".m")


def test_a_language_model(tmp_path: Path) -> None:
    tensors = {"a": ("BF16", [64, 64], 2), "b": ("F32", [10], 4)}
    write_model(tmp_path / "model", LLAMA, tensors)
    found = model_at(tmp_path)
    assert (found.kind, found.layers, found.hidden) == ("llm", 2, 64)
    assert (found.q_heads, found.kv_heads, found.head_dim) == (4, 2, 16)
    assert found.context_tokens == 4096
    assert found.params == found.active_params == 64 * 64 + 10
    assert found.weight_bytes == 64 * 64 * 2 + 10 * 4


def test_all_shards_of_weights_count_and_the_same_weights_in_another_layout_do_not(
    tmp_path: Path,
) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    for shard in (1, 2):
        name = f"model-0000{shard}-of-00002.safetensors"
        (folder / name).write_bytes(safetensors({f"x{shard}": ("I8", [100], 1)}))
    (folder / "consolidated.safetensors").write_bytes(safetensors({"x": ("I8", [200], 1)}))
    assert model_at(tmp_path).weight_bytes == 200


def test_weights_of_an_unusual_name_are_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert model_at(tmp_path).params == 64 * 64


EXPERTS = LLAMA | {"num_experts": 8, "num_experts_per_tok": 2}


@pytest.mark.parametrize(
    "routed",
    [
        {f"model.layers.0.mlp.experts.{n}.up_proj.weight": ("BF16", [30], 2) for n in range(8)},
        {"model.layers.0.mlp.experts.gate_up_proj": ("BF16", [8, 30], 2)},
    ],
    ids=["a tensor each", "all in one"],
)
def test_experts_that_a_token_does_not_meet_are_not_active(
    tmp_path: Path, routed: dict[str, tuple[str, list[int], int]]
) -> None:
    rest = {
        "model.layers.0.mlp.shared_experts.up_proj.weight": ("BF16", [100], 2),
        "model.embed_tokens.weight": ("BF16", [900], 2),
    }
    write_model(tmp_path / "model", EXPERTS, routed | rest)
    found = model_at(tmp_path)
    assert found.params == 240 + 1000
    assert found.active_params == 240 / 4 + 1000
    assert (found.experts, found.experts_per_token, found.routed_params) == (8, 2, 240)


def test_a_model_without_tensors_of_experts_is_dense(tmp_path: Path) -> None:
    write_model(tmp_path / "model", EXPERTS)
    found = model_at(tmp_path)
    assert found.active_params == found.params and found.experts == 0


@pytest.mark.parametrize(
    ("quantised", "packed", "count"),
    [
        ({"quant_method": "gptq", "bits": 4}, ("w.qweight", ("I32", [10, 8], 4)), 640),
        ({"quant_method": "awq", "w_bit": 4}, ("w.qweight", ("I32", [10], 4)), 80),
        ({"quant_method": "mxfp4"}, ("w_blocks", ("U8", [10, 16], 1)), 320),
        (
            {"config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            ("w.weight_packed", ("I32", [10], 4)),
            40,
        ),
    ],
    ids=["GPTQ", "AWQ", "MXFP4", "compressed-tensors"],
)
def test_packed_weights_count_as_what_they_hold(
    tmp_path: Path,
    quantised: dict[str, Any],
    packed: tuple[str, tuple[str, list[int], int]],
    count: int,
) -> None:
    name, tensor = packed
    tensors = {name: tensor, "norm.weight": ("BF16", [7], 2)}
    write_model(tmp_path / "model", LLAMA | {"quantization_config": quantised}, tensors)
    found = model_at(tmp_path)
    assert found.params == count + 7
    assert found.weight_bytes == tensor[2] * math.prod(tensor[1]) + 14


def test_latent_attention_keeps_one_vector_for_all_heads(tmp_path: Path) -> None:
    config = LLAMA | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_key_value_heads": 4}
    write_model(tmp_path / "model", config)
    found = model_at(tmp_path)
    # key and value together: (512 + 64) numbers a token and layer
    assert 2 * found.kv_heads * found.head_dim == 576


def test_layers_with_a_window(tmp_path: Path) -> None:
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    write_model(tmp_path / "model", LLAMA | {"layer_types": kinds, "sliding_window": 1024})
    found = model_at(tmp_path)
    assert (found.window_tokens, found.window_fraction) == (1024, 5 / 6)


def test_the_context_of_a_model_is_its_executor_s(tmp_path: Path) -> None:
    write_model(tmp_path / "model", LLAMA | {"max_position_embeddings": 777})
    library = tmp_path / "library.toml"
    library.write_text(entry("./model").replace("context = 4096\n", ""))
    executor = load_library([library], shipped=False).get("tiny")
    assert executor is not None and executor.context_tokens == 777


@pytest.mark.parametrize("name", ["./a\\u0000b", "~nobody-of-this-name/m", "./" + "x" * 300])
def test_names_that_no_folder_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        model_at(tmp_path, name)
    assert [d.id for d in caught.value.diagnostics] == ["unusable-model"]


def test_a_path_that_is_sent_elsewhere_is_no_folder_here(tmp_path: Path) -> None:
    text = entry("/models/m").replace('runner = "vllm"', 'runner = "openai"')
    text = text.replace('devices = ["cpu"]', 'devices = ["remote"]')
    library = tmp_path / "library.toml"
    library.write_text(text + 'settings = { url = "http://127.0.0.1:1/v1" }\n')
    executor = load_library([library], shipped=False).get("tiny")
    assert executor is not None
    assert not is_folder(executor) and model_location(executor) == "/models/m"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 0}, "`num_hidden_layers` is no positive integer"),
        ({"num_attention_heads": True}, "`num_attention_heads` is no positive integer"),
        ({"hidden_size": "64"}, "`hidden_size` is no positive integer"),
        ({"num_hidden_layers": None}, "its figures of `LlamaForCausalLM` lack `num_hidden_layers`"),
        ({"num_experts": 2, "num_experts_per_tok": 3}, "a token meets 3 of its 2 experts"),
        ({"quantization_config": {"bits": 32}}, "packed, with 32 bits each"),
    ],
)
def test_figures_that_cannot_be(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    tensors = {"mlp.experts.w": ("BF16", [64], 2), "norm.weight": ("BF16", [7], 2)}
    write_model(tmp_path / "model", EXPERTS | changes, tensors)
    with pytest.raises(InputError, match=said):
        model_at(tmp_path)


def test_figures_of_several_modalities_are_those_of_the_language_model(tmp_path: Path) -> None:
    text = {key: value for key, value in LLAMA.items() if key != "architectures"}
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "hidden_size": 1,
        "text_config": text,
        "vision_config": {"hidden_size": 7},
    }
    write_model(tmp_path / "model", config)
    found = model_at(tmp_path)
    assert (found.kind, found.hidden, found.layers) == ("llm", 64, 2)


def test_whisper(tmp_path: Path) -> None:
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": 64,
        "decoder_layers": 3,
        "decoder_attention_heads": 4,
        "max_target_positions": 448,
    }
    write_model(tmp_path / "model", config)
    found = model_at(tmp_path)
    assert (found.kind, found.layers, found.q_heads, found.kv_heads) == ("asr", 3, 4, 4)
    assert found.context_tokens == 448


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("BertModel", "embedding"), ("BertForSequenceClassification", "reranker")],
)
def test_bert(tmp_path: Path, architecture: str, kind: str) -> None:
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2}
    config = {"architectures": [architecture], "max_position_embeddings": 512, **sizes}
    write_model(tmp_path / "model", config)
    assert (model_at(tmp_path).kind, model_at(tmp_path).context_tokens) == (kind, 512)


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


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYS = st.sampled_from([*LLAMA, "text_config", "num_experts", "head_dim", "moe_intermediate_size"])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("garbage")


@given(changes=st.dictionaries(KEYS, JSON, max_size=4), header=JSON)
def test_a_garbled_model_is_never_more_than_an_input_error(
    scratch: Path, changes: dict[str, Any], header: Any
) -> None:
    folder = write_model(scratch / "model", LLAMA | changes)
    said = json.dumps({"w": header} if isinstance(header, list) else header).encode()
    (folder / "more.safetensors").write_bytes(len(said).to_bytes(8, "little") + said)
    try:
        found = model_at(scratch)
    except InputError:
        return
    assert found.layers > 0 and found.params > 0 and found.weight_bytes > 0


@given(content=st.binary(max_size=64))
def test_bytes_that_are_no_weights(scratch: Path, content: bytes) -> None:
    path = scratch / "w.safetensors"
    path.write_bytes(content)
    try:
        tensors = read_header(path).values()
    except InputError:
        return
    assert all(tensor.count >= 0 and tensor.bytes >= 0 for tensor in tensors)


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
