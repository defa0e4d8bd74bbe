"""`mkb catalog`: lists, entries, and what is wrong with catalogue files."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from murakkab.cli.main import cli

GPU = """[[gpu]]
type = "X1"
aliases = ["X"]
memory = "80 GB"
bandwidth = "3350 GB / s"
peak_tflops = { bf16 = 989, fp8 = 1978 }
tdp_w = 700
idle_w = 70
link = "450 GB / s"
source = "a data sheet"
"""
MODEL = """[[model]]
name = "acme/tiny"
kind = "llm"
params_b = 1.1
layers = 22
hidden = 2048
q_heads = 32
kv_heads = 4
head_dim = 64
intermediate = 5632
vocab = 32000
context = 2048
weights = "2.2 GB"
source = "its config.json"
"""
EXPERTS = """experts = 8
experts_per_token = 2
moe_intermediate = 5632
routed_params_b = 1.0
"""
PRICE = """[[price]]
provider = "acme"
instance = "x1.large"
gpu = "X1"
gpus = 8
price = "$24 / h"
date = "2026-01"
source = "its list"
"""
SCORE = """[[quality]]
model = "acme/tiny"
benchmark = "MMLU"
score = 40
unit = "%"
source = "its card"
"""
GRID = """[[carbon]]
region = "XX"
name = "Nowhere"
g_per_kwh = 100
year = 2024
source = "a report"
"""


def mkb(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [*map(str, arguments)], env={"NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def document(*arguments: object) -> tuple[int, dict[str, Any]]:
    code, text = mkb(*arguments, "--json")
    return code, json.loads(text)


def findings(tmp_path: Path, text: str) -> list[tuple[str, str, int, int, str]]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    _, told = document("catalog", "check", path)
    return [
        (d["id"], d["severity"], d["line"], d["column"], d["message"]) for d in told["diagnostics"]
    ]


def test_what_is_shipped_is_sound() -> None:
    code, told = document("catalog", "check")
    assert (code, told["diagnostics"], len(told["sound"])) == (0, [], 6)


def test_a_users_file_is_sound(tmp_path: Path) -> None:
    assert findings(tmp_path, GPU + MODEL + PRICE + SCORE + GRID) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            GPU.replace("= 70\n", "= 700\n"),
            ("contradictory-entry", "error", 8, 10, "700 W at rest is not less than the 700 W"),
        ),
        (
            GPU.replace("fp8 = 1978", "fp8 = 3957"),
            ("implausible-figure", "warning", 6, 35, "`fp8` is 4.0 times the rate at 16 bits"),
        ),
        (
            GPU.replace("bf16 = 989", "bf16 = 9890").replace("fp8 = 1978", "fp8 = 19780"),
            ("implausible-figure", "warning", 6, 15, "2952 FLOP for a byte of memory traffic"),
        ),
        (
            GPU.replace("bf16 = 989, ", ""),
            ("missing-key", "error", 6, 1, "`X1` has no rate at 16 bits"),
        ),
        (GPU + GPU, ("duplicate-entry", "error", 12, 8, "`X1` is already there")),
        (
            GPU.replace('["X"]', '["X", "X"]'),
            ("duplicate-entry", "error", 3, 17, "`X` is already there"),
        ),
        (
            GPU.replace("a data sheet", " "),
            ("missing-source", "error", 10, 10, "the source is blank"),
        ),
        (
            GPU + 'sources = { idle = "a guess" }\n',
            ("unknown-key", "error", 11, 13, "a source of `idle`"),
        ),
        (
            GPU.replace('"a data sheet"', "3"),
            ("wrong-type", "error", 10, 10, "`gpu.source` must be a string"),
        ),
        (
            MODEL.replace("params_b = 1.1", "params_b = 1.6").replace("2.2 GB", "3.2 GB"),
            ("contradictory-entry", "error", 4, 12, "its layers, experts and embeddings hold"),
        ),
        (
            MODEL.replace("2.2 GB", "1.1 GB"),
            ("contradictory-entry", "error", 13, 11, "`1.1 GB` of weights are 1 bytes for each"),
        ),
        (
            MODEL.replace("kv_heads = 4", "kv_heads = 5"),
            ("contradictory-entry", "error", 8, 12, "32 heads do not share out over 5"),
        ),
        (
            MODEL + "window_tokens = 512\n",
            ("contradictory-entry", "error", 15, 17, "`window_fraction` belong together"),
        ),
        (
            MODEL + "experts = 8\n",
            ("contradictory-entry", "error", 15, 11, "and `routed_params_b` belong together"),
        ),
        (
            MODEL + "active_params_b = 2\n",
            ("contradictory-entry", "error", 15, 19, "more parameters are active than there are"),
        ),
        (
            PRICE.replace('"X1"', '"H10"'),
            ("unknown-gpu", "error", 4, 7, "no GPU `H10` in the catalogue"),
        ),
        (
            PRICE.replace('"X1"', '"H100"').replace("$24", "$2400"),
            ("implausible-figure", "warning", 6, 9, "$300 an hour for a GPU"),
        ),
        (
            SCORE.replace("acme/tiny", "whisper-large-v4"),
            ("unknown-model", "error", 2, 9, "no model `whisper-large-v4` in the catalogue"),
        ),
        (MODEL + SCORE + SCORE, ("duplicate-entry", "error", 23, 13, "is already there")),
        (
            GRID.replace("= 100", "= 10000"),
            ("implausible-figure", "warning", 4, 13, "10000 g for a kWh is more than any grid"),
        ),
    ],
)
def test_mistakes_have_a_place(
    tmp_path: Path, text: str, found: tuple[str, str, int, int, str]
) -> None:
    told = findings(tmp_path, text)
    assert any(one[:4] == found[:4] and found[4] in one[4] for one in told), told


def test_experts_that_a_token_cannot_meet(tmp_path: Path) -> None:
    told = findings(tmp_path, MODEL + EXPERTS.replace("per_token = 2", "per_token = 9"))
    assert ("a token meets 9 of 8 experts") in {one[4] for one in told}


def test_errors_end_with_code_2_and_doubts_do_not(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GPU.replace("fp8 = 1978", "fp8 = 3957"))
    assert mkb("catalog", "check", path)[0] == 0
    path.write_text(GPU + GPU)
    code, text = mkb("catalog", "check", path)
    assert code == 2
    assert f"{path}:12:8" in text


def test_sound_files_are_named_beside_others(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(MODEL)
    bad.write_text(MODEL.replace("layers = 22", "layers = 0"))
    code, told = document("catalog", "check", good, bad)
    assert (code, told["sound"]) == (2, [str(good)])


def test_the_lists() -> None:
    code, told = document("catalog", "show", "gpus")
    assert code == 0
    assert {"H100-SXM5-80GB", "T4", "MI300X"} <= {gpu["type"] for gpu in told["gpus"]}
    assert "aliases" not in mkb("catalog", "show")[1]
    counts = document("catalog")[1]["counts"]
    assert counts["models"] >= 40


def test_an_entry_with_what_refers_to_it() -> None:
    code, told = document("catalog", "show", "H100")
    assert (code, told["gpu"]["type"]) == (0, "H100-SXM5-80GB")
    assert any(price["instance"] == "p5.48xlarge" for price in told["prices"])
    text = mkb("catalog", "show", "gte-large")[1]
    assert "thenlper/gte-large" in text  # the nearest name


def test_a_users_entry_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MODEL)
    assert document("catalog", "show", "acme/tiny", "--catalog", path)[1]["model"]["layers"] == 22
    code, text = mkb("catalog", "show", "acme/tiny")
    assert code == 2
    assert "nothing in the catalogue is named `acme/tiny`" in text


WORKFLOW = """task reply(question: Text) -> Text "Answer a question." prompt "{question}"

workflow ask(question: Text) -> Text {
    said = reply(question) with { executor: "tiny" }
    return said
}
"""
LIBRARY = """[[executor]]
name = "tiny"
implements = "generate"
description = "A language model of ours"
runner = "vllm"
model = "acme/tiny"
devices = ["gpu"]
quality = { value = 0.5, metric = "m", source = "s" }
[executor.work]
prompt_tokens = "tokens(prompt)"
output_tokens = 50
"""
CLUSTER = """name = "ours"
[[pool]]
name = "node"
nodes = 1
gpu = { type = "X1", count = 1 }
cpu = { cores = 16 }
memory = "64 GB"
"""


@pytest.fixture
def ours(tmp_path: Path) -> dict[str, Path]:
    """Return a workflow on a model and a GPU that only a catalogue file knows."""
    texts = {"ask.mkb": WORKFLOW, "lib.toml": LIBRARY, "gpu.toml": CLUSTER, "cat.toml": MODEL + GPU}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in texts}


def test_a_workflow_compiles_for_models_and_hardware_of_ones_own(ours: dict[str, Path]) -> None:
    world = ("--library", ours["lib.toml"], "--cluster", ours["gpu.toml"], "--target", "sim")
    command = ("compile", ours["ask.mkb"], *world)
    code, told = document(*command)
    assert (code, told["diagnostics"][0]["id"]) == (2, "unknown-gpu")
    code, told = document(*command, "--catalog", ours["cat.toml"])
    assert code == 0, told["diagnostics"]
    (engine,) = told["plan"]["engines"]
    assert engine["executor"] == "tiny"


def test_predictions_know_models_of_ones_own(ours: dict[str, Path]) -> None:
    command = ("predict", "--model", "acme/tiny", "--gpu", "X1", "--catalog", ours["cat.toml"])
    code, told = document(*command)
    assert (code, told["question"]["gpu"]) == (0, "X1")
    assert told["throughput_tok_s"] > 0
