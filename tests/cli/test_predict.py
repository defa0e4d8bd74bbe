"""`mkb predict`: one question, many in a file, and questions that cannot be answered."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from murakkab.cli.main import cli

HEADER = "model,gpu,tp,batch,isl_tok,osl_tok,precision,engine,engine_version"
PROFILE = (
    "model,precision,device,tp,isl_tok,osl_tok,load_tokens_per_s,ttft_p50_s,tpot_p50_ms,power_w,"
    "in_flight,engine,engine_version,source\n"
)


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["predict", *arguments])


def document(*arguments: str) -> dict[str, Any]:
    result = predict(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def in_bulk(path: Path, *rows: str, header: str = HEADER) -> tuple[Result, list[dict[str, str]]]:
    (path / "in.csv").write_text("\n".join((header, *rows)) + "\n")
    result = predict("--csv", str(path / "in.csv"), "-o", str(path / "out.csv"))
    with (path / "out.csv").open(newline="") as lines:
        return result, list(csv.DictReader(lines))


LLAMA = ("--model", "Llama-3.1-8B", "--gpu", "H100")


def test_one_question_is_answered_in_words_and_as_json() -> None:
    shown = predict(*LLAMA, "--batch", "16")
    assert shown.exit_code == 0
    assert "meta-llama/Llama-3.1-8B-Instruct in bf16 on H100-SXM5-80GB" in shown.stdout
    found = document(*LLAMA, "--batch", "16")
    assert found["source"] == "analytic" and found["fits"] is True
    assert found["itl_ms"] < found["tpot_ms"] < found["ttft_ms"]
    power_s = found["energy_j_per_output_tok"] * found["throughput_tok_s"]
    assert power_s == pytest.approx(found["power_w"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("llama-3.1-70b", "meta-llama/Llama-3.1-70B-Instruct"),
        ("META-LLAMA/meta-llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("Qwen3-30B-A3B-Thinking-2507", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
        ("gemma-3-12b", "google/gemma-3-12b-it"),
        ("gpt-oss-20b", "openai/gpt-oss-20b"),
    ],
)
def test_models_go_by_short_names_in_any_letters(name: str, found: str) -> None:
    question = document("--model", name, "--gpu", "h200", "--tp", "2")["question"]
    assert question["model"] == found


@pytest.mark.parametrize("name", ["H100", "h100_sxm", "NVIDIA H100", "h100-sxm5-80gb"])
def test_gpus_go_by_their_usual_names(name: str) -> None:
    question = document("--model", "Qwen3-8B", "--gpu", name)["question"]
    assert question["gpu"] == "H100-SXM5-80GB"


def test_a_name_may_say_the_precision() -> None:
    question = document("--model", "Qwen3-8B-FP8", "--gpu", "L4")["question"]
    assert question["model"] == "Qwen/Qwen3-8B" and question["precision"] == "fp8"


def test_a_cpu_is_slower() -> None:
    gpu = document("--model", "Qwen3-8B", "--gpu", "L4")
    cpu = document("--model", "Qwen3-8B", "--gpu", "Xeon-8480C")
    assert cpu["itl_ms"] > gpu["itl_ms"]
    assert cpu["error_band_pct"] > gpu["error_band_pct"]


@pytest.mark.parametrize(
    ("arguments", "message", "help"),
    [
        (("--model", "Lama-3.1-8B", "--gpu", "H100"), "no model `Lama-3.1-8B`", "llama-3.1-8b"),
        (("--model", "Qwen3-8B", "--gpu", "H101"), "no GPU `H101`", "did you mean `H100`?"),
        ((*LLAMA, "--precision", "fp9"), "no precision `fp9`", "did you mean `fp8`?"),
        ((*LLAMA, "--engine", "ollama"), "no engine `ollama`", "`vllm`"),
        ((*LLAMA, "--tp", "3"), "`tp` 3 does not divide the 32 heads", ""),
        (("--model", "Llama-3.1-70B", "--gpu", "H100"), "each GPU lacks", "`tp` 4 or precision"),
        (("--model", "./nowhere", "--gpu", "H100"), "nowhere", ""),
        (("--gpu", "H100"), "`--model` is missing", ""),
        ((*LLAMA, "-o", "out.csv"), "`-o` goes with `--csv`", ""),
    ],
)
def test_a_question_without_an_answer_says_why(
    arguments: tuple[str, ...], message: str, help: str
) -> None:
    result = predict(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and help in result.stderr


def test_a_file_is_answered_row_by_row(tmp_path: Path) -> None:
    result, rows = in_bulk(
        tmp_path,
        "Llama-3.1-8B,H100,1,8,1024,128,bf16,vllm,0.11.1",
        "Llama-3.1-8B,H100,1,64,1024,128,bf16,vllm,0.11.1",
        "gpt-oss-120b,H200,2,16,1024,1024,fp4,vllm,0.18.0",
    )
    assert result.exit_code == 0, result.output
    assert list(rows[0]) == [
        *HEADER.split(","),
        *("ttft_ms", "itl_ms", "tpot_ms", "throughput_tok_s", "power_w"),
        *("energy_j_per_output_tok", "memory_gb", "fits", "error_band_pct", "source"),
    ]
    assert [row["fits"] for row in rows] == ["true"] * 3
    assert float(rows[0]["itl_ms"]) < float(rows[1]["itl_ms"])
    alone = document(
        *(*LLAMA, "--batch", "8", "--isl", "1024", "--osl", "128", "--engine-version", "0.11.1")
    )
    assert float(rows[0]["ttft_ms"]) == pytest.approx(alone["ttft_ms"], rel=1e-4)


def test_flags_stand_for_columns_and_cells_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("model,batch,note\nQwen3-8B,8,a\nQwen3-8B,,b\n")
    result = predict("--csv", str(tmp_path / "in.csv"), "--gpu", "H100", "--batch", "8")
    assert result.exit_code == 0, result.output
    first, second = csv.DictReader(io.StringIO(result.stdout))
    assert first["note"] == "a" and first["itl_ms"] == second["itl_ms"]


def test_rows_without_an_answer_are_placed_and_the_others_answered(tmp_path: Path) -> None:
    result, rows = in_bulk(
        tmp_path,
        "nope,H100,1,8,1024,128,,vllm,",
        "Qwen3-8B,H100,1,x,0,0,,vllm,",
        "Qwen3-8B,H100,3,8,1024,128,,vllm,",
        "Qwen3-8B,H100,1,8,1024,128,fp9,vllm,",
        "Qwen3-8B,H100,1,8,1024,128,,vllm,",
    )
    assert result.exit_code == 2
    for place in ("in.csv:2:1", "in.csv:3:17", "in.csv:3:21", "in.csv:4:15", "in.csv:5:28"):
        assert place in result.stderr
    assert [bool(row["itl_ms"]) for row in rows] == [False] * 4 + [True]


def test_what_does_not_fit_is_a_warning_once_for_all_its_loads(tmp_path: Path) -> None:
    rows = [f"Llama-3.1-70B,A100,1,{batch},1024,128,,vllm," for batch in (1, 2, 4)]
    result, answers = in_bulk(tmp_path, *rows)
    assert result.exit_code == 0
    assert result.stderr.count("does not fit") == 1
    assert {row["fits"] for row in answers} == {"false"}
    assert all(float(row["memory_gb"]) > 80 and row["itl_ms"] == "" for row in answers)


def test_columns_with_a_typing_error_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("model,gpu,bach\nQwen3-8B,H100,8\n")
    result = predict("--csv", str(tmp_path / "in.csv"))
    assert result.exit_code == 2
    assert "did you mean `batch`?" in result.stderr


def profile(path: Path, *rows: str) -> str:
    (path / "profiles.csv").write_text(PROFILE + "".join(f"{row}\n" for row in rows))
    return str(path / "profiles.csv")


SLOW = (
    "meta-llama/Llama-3.1-8B-Instruct,bf16,H100-SXM5-80GB,1,1024,256,{},0.2,{},{},{},vllm,0.9.0,us"
)


def test_measured_rows_win_and_rescale_the_curve(tmp_path: Path) -> None:
    file = profile(tmp_path, SLOW.format(400, 20, 500, 8))
    lengths = ("--isl", "1024", "--osl", "256")
    measured = document(*LLAMA, *lengths, "--batch", "8", "--anchor", file)
    assert measured["source"] == "measured"
    assert measured["tpot_ms"] == pytest.approx(20)
    assert measured["ttft_ms"] == pytest.approx(200)
    assert measured["power_w"] == pytest.approx(500)
    other = document(*LLAMA, *lengths, "--batch", "32", "--anchor", file)
    plain = document(*LLAMA, *lengths, "--batch", "32")
    assert other["source"] == "anchored"
    assert other["tpot_ms"] > 1.3 * plain["tpot_ms"]
    assert other["error_band_pct"] < plain["error_band_pct"]


def test_load_points_of_another_version_are_used_with_a_warning(tmp_path: Path) -> None:
    file = profile(tmp_path, SLOW.format(400, 20, 500, 8))
    result = predict(*LLAMA, "--anchor", file, "--engine-version", "0.11.1")
    assert result.exit_code == 0
    assert "outdated-profile" in result.stderr and "vllm 0.9.0" in result.stderr
    same = predict(*LLAMA, "--anchor", file, "--engine-version", "0.9.0")
    assert "outdated-profile" not in same.stderr


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    file = profile(tmp_path, SLOW.format(400, 20, 500, 8), SLOW.format(800, 10, 500, 16))
    result = predict(*LLAMA, "--anchor", file)
    assert result.exit_code == 2
    assert "profiles.csv:3:" in result.stderr and "falls below that of line 2" in result.stderr


def test_stages_that_write_no_text_are_answered_in_items(tmp_path: Path) -> None:
    found = document("--model", "yolo26x", "--gpu", "T4")
    assert found["itl_ms"] is None and found["ttft_ms"] > 1
    shown = predict("--model", "whisper-large-v3", "--gpu", "L4", "--batch", "64", "--osl", "76")
    assert "30 s of sound" in shown.stdout and "tokens / s" in shown.stdout
    _, rows = in_bulk(tmp_path, "yolo26x,T4,1,8,,,,,", "Qwen3-8B,L4,1,8,,,,,")
    assert rows[0]["tpot_ms"] == "" and float(rows[0]["throughput_tok_s"]) > 10
    assert float(rows[1]["tpot_ms"]) > 0


def test_a_mean_of_output_lengths_means_that_they_differ(tmp_path: Path) -> None:
    whole, mean = (document(*LLAMA, "--batch", "64", "--osl", osl) for osl in ("400", "400.1"))
    assert mean["itl_ms"] > 1.02 * whole["itl_ms"]
    _, rows = in_bulk(
        tmp_path, "Llama-3.1-8B,H100,1,64,,400,,,", "Llama-3.1-8B,H100,1,64,,400.1,,,"
    )
    assert float(rows[1]["itl_ms"]) == pytest.approx(mean["itl_ms"], rel=1e-4)
    assert float(rows[0]["itl_ms"]) == pytest.approx(whole["itl_ms"], rel=1e-4)
