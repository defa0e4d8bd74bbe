"""The optional oracle: what it covers, what it is told, and what its times change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets import oracle
from murakkab.targets.catalog import load_catalog
from murakkab.targets.forecast import forecasts
from murakkab.targets.oracle import configuration, covers, installed, refined
from murakkab.targets.perfdevice import gpu_device
from murakkab.targets.perfmodel import Query, answers


def query(model: str = "Qwen/Qwen3-8B", gpu: str = "H100") -> Query:
    catalog = load_catalog()
    return Query(catalog.models[model], gpu_device(catalog.gpus[gpu]), 1, 16, 1000, 200)


def test_it_covers_plain_attention_on_the_gpus_of_its_tables() -> None:
    assert covers(query()) and covers(query("Qwen/Qwen3-30B-A3B"))
    assert not covers(query(gpu="MI300X"))
    assert not covers(query("google/gemma-3-12b-it"))
    assert not covers(query("deepseek-ai/DeepSeek-V3"))
    assert not covers(replace(query(), precision="int4"))


def test_configurations_have_the_shape_of_the_catalogue() -> None:
    dense = configuration(query().model)
    assert dense["architectures"] == ["LlamaForCausalLM"]
    assert (dense["num_hidden_layers"], dense["num_key_value_heads"]) == (36, 8)
    experts = configuration(query("Qwen/Qwen3-30B-A3B").model)
    assert (experts["num_experts"], experts["num_experts_per_tok"]) == (128, 8)


def test_its_times_replace_those_of_steps_and_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        """The calls of the package that are used, with times of its own."""

        def predict_decode_latency(self, batch: int, context: int, osl: int) -> float:
            return 10.0 + 0.1 * batch

        def predict_prefill_latency(self, batch: int, prompt: int, prefix: int) -> float:
            return 0.05 * prompt

    monkeypatch.setattr(oracle, "_kernels", lambda query: oracle.Kernels(Engine()))
    queries = [query(), query(gpu="MI300X")]
    plain = answers(queries)
    found, covered = refined(queries, plain)
    assert covered == [True, False]
    assert found.itl_s[0] == pytest.approx(11.6e-3)
    assert found.tpot_s[0] == pytest.approx(11.6e-3 + 16 / 200 * 50e-3)
    assert found.tokens_per_s[0] == pytest.approx(16 / found.tpot_s[0])
    assert found.itl_s[1] == plain.itl_s[1] and found.ttft_s[1] == plain.ttft_s[1]


@pytest.mark.skipif(installed(), reason="the extra `aiconfigurator` is installed")
def test_without_the_package_it_is_said_what_to_install() -> None:
    with pytest.raises(InputError) as caught:
        forecasts([query()], source="aiconfigurator")
    assert caught.value.diagnostics[0].id == "missing-package"


@pytest.mark.skipif(not installed(), reason="needs the extra `aiconfigurator`")
def test_the_package_prices_a_step() -> None:
    (found,) = forecasts([query()], source="aiconfigurator")
    assert found.source == "aiconfigurator"
    assert 4 < found.itl_ms < 20
