"""Figures of models in folders, from the shapes that configurations and weights really have."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import load_catalog
from murakkab.targets.safetensors_file import read_header

from .model_files import LLAMA, model_at, safetensors, write_model


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
    for name in ("consolidated.safetensors", "model.safetensors"):
        (folder / name).write_bytes(safetensors({"x": ("I8", [200], 1)}))
    (folder / "consolidated-00001-of-00001.safetensors").write_bytes(b"")
    assert model_at(tmp_path).weight_bytes == 200


def test_figures_of_a_part_of_the_weights_are_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00002-of-00003.safetensors")
    with pytest.raises(InputError, match="it lacks 2 of its 3 files of weights"):
        model_at(tmp_path)


def test_shards_that_are_numbered_from_zero(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    for shard in (0, 1, 2):
        name = f"model-0000{shard}-of-00002.safetensors"
        (folder / name).write_bytes(safetensors({f"x{shard}": ("BF16", [10], 2)}))
    assert model_at(tmp_path).params == 30


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


def test_packed_experts(tmp_path: Path) -> None:
    """As in gpt-oss: blocks of two numbers a byte, and scales that are no parameters."""
    config = LLAMA | {
        "num_local_experts": 32,
        "experts_per_token": 4,
        "quantization_config": {"quant_method": "mxfp4"},
    }
    experts = "model.layers.0.mlp.experts.gate_up_proj"
    tensors = {
        f"{experts}_blocks": ("U8", [32, 10, 2, 16], 1),
        f"{experts}_scales": ("U8", [32, 10, 2], 1),
        f"{experts}_bias": ("BF16", [32, 10], 2),
        "model.layers.0.mlp.router.weight": ("BF16", [32, 64], 2),
    }
    write_model(tmp_path / "model", config, tensors)
    found = model_at(tmp_path)
    assert found.routed_params == 32 * 10 * (2 * 16 * 2 + 1)
    assert found.params == found.routed_params + 32 * 64
    assert found.active_params == found.routed_params * 4 / 32 + 32 * 64
    assert found.weight_bytes == 32 * 10 * (2 * 16 + 2 + 2) + 32 * 64 * 2


@pytest.mark.parametrize(
    ("quantised", "packed", "count"),
    [
        ({"quant_method": "gptq", "bits": 4}, ("w.qweight", ("I32", [10, 8], 4)), 640),
        ({"quant_method": "gptq", "bits": 3}, ("w.qweight", ("I32", [3, 8], 4)), 256),
        ({"quant_method": "awq", "w_bit": 4}, ("w.qweight", ("I32", [10], 4)), 80),
        ({"quant_method": "mxfp4"}, ("w_blocks", ("U8", [10, 16], 1)), 320),
        (
            {"config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            ("w.weight_packed", ("I32", [10], 4)),
            40,
        ),
        (
            {
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 8}},
                    "group_1": {"weights": {"num_bits": 4}},
                    "group_2": {"weights": None},
                }
            },
            ("w.weight_packed", ("U8", [10, 8], 1)),
            160,
        ),
        ({"quant_algo": "NVFP4"}, ("w.weight", ("U8", [10, 8], 1)), 160),
        ({"load_in_4bit": True}, ("w.weight", ("U8", [80, 1], 1)), 160),
        ({"load_in_8bit": True}, ("w.weight", ("I8", [10, 8], 1)), 80),
        ({"quant_method": "fp8"}, ("w.weight", ("F8_E4M3", [10, 8], 1)), 80),
    ],
    ids=[
        *("GPTQ", "GPTQ of 3 bits", "AWQ", "MXFP4", "compressed-tensors", "several groups"),
        *("ModelOpt", "bitsandbytes of 4 bits", "bitsandbytes of 8 bits", "FP8"),
    ],
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


@pytest.mark.parametrize(
    "name",
    [
        *("w.scales", "w.qzeros", "w.g_idx", "w.weight_scale", "w.weight_zero_point"),
        *("w.weight_shape", "w.weight_scale_inv", "w.weight_scale_2", "w.input_scale", "w.SCB"),
        *("w.weight.absmax", "w.weight.nested_quant_map", "experts_scales"),
        "w.weight.quant_state.bitsandbytes__nf4",
    ],
)
def test_what_weights_are_unpacked_with_is_no_parameter(tmp_path: Path, name: str) -> None:
    tensors = {"w.qweight": ("I32", [10], 4), name: ("I32", [5], 4)}
    quantised = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    write_model(tmp_path / "packed", LLAMA | quantised, tensors)
    write_model(tmp_path / "plain", LLAMA, tensors)
    packed, plain = model_at(tmp_path, "./packed"), model_at(tmp_path, "./plain")
    assert (packed.params, plain.params) == (80, 15)
    assert packed.weight_bytes == plain.weight_bytes == 60


def test_latent_attention_keeps_one_vector_for_all_heads(tmp_path: Path) -> None:
    config = LLAMA | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_key_value_heads": 4}
    write_model(tmp_path / "model", config)
    found = model_at(tmp_path)
    assert found.latent_kv_dim == 576
    assert found.kv_bytes(10) == 10 * 2 * 576 * 2  # of two layers, two bytes a number


@pytest.mark.parametrize(
    ("said", "window"),
    [
        ({"layer_types": ["sliding_attention", "full_attention"]}, (1024, 1 / 2)),  # gpt-oss
        ({"layer_types": ["sliding_attention"] * 5 + ["full_attention"]}, (1024, 5 / 6)),
        ({"layer_types": ["full_attention"] * 2}, (0, 0.0)),
        ({"num_hidden_layers": 34, "sliding_window_pattern": 6}, (1024, 29 / 34)),
        ({"num_hidden_layers": 42, "model_type": "gemma2"}, (1024, 1 / 2)),
        ({"model_type": "mistral"}, (1024, 1.0)),
        ({"model_type": "mistral", "sliding_window": None}, (0, 0.0)),
        ({"model_type": "qwen2", "use_sliding_window": False, "layer_types": []}, (0, 0.0)),
        ({"model_type": "of_no_known_family"}, (0, 0.0)),
    ],
)
def test_layers_with_a_window(
    tmp_path: Path, said: dict[str, Any], window: tuple[int, float]
) -> None:
    write_model(tmp_path / "model", LLAMA | {"sliding_window": 1024} | said)
    found = model_at(tmp_path)
    assert found.window_tokens == window[0]
    assert found.window_fraction == pytest.approx(window[1])


def test_a_window_saves_memory_beyond_its_length(tmp_path: Path) -> None:
    kinds = ["sliding_attention", "full_attention"]
    write_model(tmp_path / "windowed", LLAMA | {"layer_types": kinds, "sliding_window": 100})
    write_model(tmp_path / "full")
    windowed, full = model_at(tmp_path, "./windowed"), model_at(tmp_path, "./full")
    assert windowed.kv_bytes(100) == full.kv_bytes(100)
    assert windowed.kv_bytes(1000) == full.kv_bytes(1000) / 2 + full.kv_bytes(100) / 2


def test_gemma_3_leaves_out_what_its_family_has(tmp_path: Path) -> None:
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
    }
    write_model(tmp_path / "model", config)
    found = model_at(tmp_path)
    shipped = load_catalog().models["google/gemma-3-4b-it"]
    for figure in ("kind", "layers", "hidden", "q_heads", "kv_heads", "head_dim"):
        assert getattr(found, figure) == getattr(shipped, figure)
    assert (found.context_tokens, found.window_tokens) == (131072, 1024)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 0}, "`num_hidden_layers` is no positive integer"),
        ({"hidden_size": 0}, "`hidden_size` is no positive integer"),
        ({"num_key_value_heads": 0}, "`num_key_value_heads` is no positive integer"),
        ({"head_dim": 0}, "`head_dim` is no positive integer"),
        ({"max_position_embeddings": 0}, "`max_position_embeddings` is no positive integer"),
        ({"kv_lora_rank": 0}, "`kv_lora_rank` is no positive integer"),
        ({"kv_lora_rank": 512}, "lack `qk_rope_head_dim`"),
        ({"num_experts": 0}, "`num_experts` is no positive integer"),
        ({"num_experts_per_tok": 0}, "`num_experts_per_tok` is no positive integer"),
        ({"num_experts_per_tok": None}, "lack `num_experts_per_tok`"),
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


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *(*LLAMA, "text_config", "num_experts", "head_dim", "kv_lora_rank", "quantization_config"),
        *("model_type", "layer_types", "sliding_window", "sliding_window_pattern"),
    ]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("garbage")


@settings(deadline=None)  # files are written and read: the disk decides how long that takes
@given(changes=st.dictionaries(KEYS, JSON, max_size=4), header=JSON)
@example(changes={"model_type": [], "sliding_window": 8}, header=None)
@example(changes={"quantization_config": {"config_groups": [3], "bits": None}}, header=None)
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
