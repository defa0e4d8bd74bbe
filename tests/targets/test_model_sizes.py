"""Figures from a `config.json` alone, and as the text of a catalogue entry."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import Model, load_catalog, read_catalog
from murakkab.targets.catalog_check import check_catalog
from murakkab.targets.catalog_text import model_toml
from murakkab.targets.model_folder import described_model
from murakkab.targets.toml_source import parse_toml

from .model_files import LLAMA, write_model

# figures as in the models' own config.json; the catalogue has parameters counted by other means
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "tie_word_embeddings": False,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4"},
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
WHISPER = {
    "architectures": ["WhisperForConditionalGeneration"],
    "model_type": "whisper",
    "d_model": 1280,
    "decoder_attention_heads": 20,
    "decoder_ffn_dim": 5120,
    "decoder_layers": 32,
    "encoder_ffn_dim": 5120,
    "encoder_layers": 32,
    "max_target_positions": 448,
    "vocab_size": 51866,
}
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "vocab_size": 30522,
}
SHAPE = (
    *("kind", "layers", "hidden", "q_heads", "kv_heads", "head_dim", "context_tokens", "precision"),
    *("experts", "experts_per_token", "window_tokens", "window_fraction", "latent_kv_dim", "vocab"),
    *("intermediate", "moe_intermediate", "dense_layers"),
)


def described(folder: Path, config: dict[str, Any]) -> Model:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return described_model(folder, "mine")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LLAMA_8B, "meta-llama/Llama-3.1-8B-Instruct"),
        (DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3"),
        (GPT_OSS, "openai/gpt-oss-20b"),
        (WHISPER, "openai/whisper-large-v3"),
        (BERT, "thenlper/gte-large"),
    ],
)
def test_sizes_say_what_was_counted(tmp_path: Path, config: dict[str, Any], name: str) -> None:
    found, counted = described(tmp_path / "model", config), load_catalog().models[name]
    assert [getattr(found, key) for key in SHAPE] == [getattr(counted, key) for key in SHAPE]
    for key in ("params", "active_params", "weight_bytes", "routed_params"):
        assert getattr(found, key) == pytest.approx(getattr(counted, key), rel=0.01), key


def test_a_tower_is_counted_apart(tmp_path: Path) -> None:
    text = {key: value for key, value in LLAMA_8B.items() if key != "architectures"}
    tower = {"hidden_size": 1000, "num_hidden_layers": 10, "intermediate_size": 4000}
    found = described(
        tmp_path,
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "text_config": text,
            "vision_config": tower,
        },
    )
    assert found.encoder_params == 10 * (4 * 1000**2 + 2 * 1000 * 4000)
    assert found.params == described(tmp_path, LLAMA_8B).params + found.encoder_params


def test_weights_beside_a_configuration_are_counted(tmp_path: Path) -> None:
    tensors = {"vision_tower.w": ("BF16", [10], 2), "w": ("F32", [90], 4)}
    folder = write_model(tmp_path / "model", LLAMA, tensors)
    for path in (folder, folder / "config.json"):
        found = described_model(path, "mine")
        assert (found.params, found.encoder_params, found.precision) == (100, 10, "fp32")


def test_everything_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        described(tmp_path, {"architectures": ["NewForCausalLM"], "hidden_size": 64})
    said = "its figures of `NewForCausalLM` lack `num_attention_heads`, `num_hidden_layers`, "
    assert f"{said}`intermediate_size`, `vocab_size`" in error.value.diagnostics[0].message


@pytest.mark.parametrize("config", [LLAMA_8B, DEEPSEEK_V3, GPT_OSS, WHISPER, BERT])
def test_what_is_described_is_sound(tmp_path: Path, config: dict[str, Any]) -> None:
    source = parse_toml(model_toml(described(tmp_path / "model", config)), "mine.toml")
    assert list(check_catalog([source], read_catalog(source))) == []


def test_every_shipped_model_reads_back() -> None:
    for model in set(load_catalog().models.values()):
        model = replace(model, source='a "quoted" source \x7f')
        (back,) = set(read_catalog(parse_toml(model_toml(model), "a.toml")).models.values())
        for key in Model.__dataclass_fields__:
            value = getattr(model, key)
            wanted = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
            assert getattr(back, key) == wanted, (model.name, key)
