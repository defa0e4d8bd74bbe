"""The shipped catalogue and references, and a user's own catalogue files."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import load_catalog
from murakkab.targets.conformance import load_schema, violation
from murakkab.targets.references import load_references
from murakkab.targets.toml_source import shipped_toml

MINE = """[[model]]
name = "acme/tiny"
kind = "llm"
params_b = 1.1
layers = 22
hidden = 2048
q_heads = 32
kv_heads = 4
head_dim = 64
context = 2048
weights = "2.2 GB"
source = "its config.json"
"""
BYTES = {"bf16": 2.0, "fp32": 4.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "mxfp4": 0.53}


def test_the_shipped_files_follow_the_schema() -> None:
    schema = load_schema("catalog")
    for source in shipped_toml("catalog"):
        assert violation(source.data, schema) is None, source.file


def test_weights_match_the_parameters() -> None:
    for model in load_catalog().models.values():
        packed = model.params * BYTES[model.precision]
        # of quantised models, embeddings and norms stay at 16 bits
        assert packed * 0.99 <= model.weight_bytes <= packed * 1.25, model.name
        assert model.active_params <= model.params
        assert model.routed_params + model.encoder_params <= model.params
        assert model.kv_heads == 0 or model.q_heads % model.kv_heads == 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [  # as published: model cards, papers
        ("meta-llama/Llama-3.3-70B-Instruct", (70.6, 70.6)),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", (109, 17)),
        ("Qwen/Qwen3-235B-A22B", (235, 22)),
        ("deepseek-ai/DeepSeek-V3", (671, 37)),
        ("moonshotai/Kimi-K2-Instruct", (1000, 32)),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", (46.7, 12.9)),
        ("openai/whisper-large-v3", (1.55, 1.55)),
    ],
)
def test_counted_parameters_are_the_published_ones(
    name: str, billions: tuple[float, float]
) -> None:
    model = load_catalog().models[name]
    assert model.params / 1e9 == pytest.approx(billions[0], rel=0.03)
    met = model.active_params - (model.encoder_params if model.kind == "llm" else 0.0)
    assert met / 1e9 == pytest.approx(billions[1], rel=0.04)


def test_latent_attention_caches_one_vector_a_layer() -> None:
    model = load_catalog().models["deepseek-v3"]
    # DeepSeek-V2 (arXiv 2405.04434), section 2.1: 512 numbers and a rotary key of 64, 2 bytes each
    assert model.kv_bytes(1000) == 61 * 576 * 2 * 1000


def test_an_alias_is_the_same_model() -> None:
    catalog = load_catalog()
    assert catalog.models["llama-3.1-8b"] is catalog.models["meta-llama/Llama-3.1-8B-Instruct"]
    assert "llama-3.1-8b" not in catalog.model_names()


def test_a_users_file_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE + MINE.replace("acme/tiny", "Qwen/Qwen3-8B"))
    catalog = load_catalog([path])
    assert catalog.models["acme/tiny"].params == pytest.approx(1.1e9)
    assert catalog.models["Qwen/Qwen3-8B"].layers == 22
    assert load_catalog().models["Qwen/Qwen3-8B"].layers == 36
    assert catalog.gpus == load_catalog().gpus


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (MINE.replace("layers = 22\n", ""), (2, 8), "`acme/tiny` has no `layers`"),
        (MINE.replace('"2.2 GB"', '"2.2 s"'), (11, 11), "`2.2 s` is not an amount of memory"),
        (MINE.replace("= 22", "= 0"), (5, 10), "`model.layers` is not a whole number from 1 on"),
        (MINE + "gflops = 3\n", (2, 8), "`acme/tiny` has no `item`"),
    ],
)
def test_a_users_mistakes_are_told_in_place(
    tmp_path: Path, text: str, place: tuple[int, int], said: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_catalog([path])
    (found,) = error.value.diagnostics
    assert said in found.message
    assert found.span is not None
    assert (found.span.file, found.span.line, found.span.column) == (str(path), *place)


def test_prices_are_of_gpus_that_the_catalogue_has() -> None:
    gpus = load_catalog().gpus
    prices = load_references().prices
    assert all(price.gpu is None or price.gpu in gpus for price in prices)
    h100 = [p for p in prices if p.gpu and gpus[p.gpu].type == "H100-SXM5-80GB" and not p.spot]
    assert all(1 < p.usd_per_s * 3600 / p.gpus < 15 for p in h100)


def test_scores_are_of_models_that_the_catalogue_has() -> None:
    models = load_catalog().models
    assert all(score.model in models for score in load_references().scores)


def test_a_kilowatt_hour_in_sweden() -> None:
    grids = load_references().grids
    assert grids["SE"].grams(3.6e6) == pytest.approx(40.7)
    assert grids["eu-north-1"] is grids["SE"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINE.replace("kv_heads = 4", "kv_heads = 5"), "do not share out over 5"),
        (MINE.replace('"2.2 GB"', '"0 GB"'), "`weights` is 0"),
        (MINE + "experts = 8\n", "belong together"),
        (MINE + MINE, "`acme/tiny` is already there"),
    ],
)
def test_what_cannot_be_is_not_planned_with(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_catalog([path])
