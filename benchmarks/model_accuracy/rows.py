"""Measured rows of language models as queries of the performance model, from a folder of CSV files.

Files: `seed_llm_mlenergy_v3_h100.csv` and `seed_vlm_mlenergy_v3_h100.csv` (ML.ENERGY leaderboard
v3, https://github.com/ml-energy/leaderboard, `public/data` at 0cd52da) and `seed_silicon_e2e.csv`
(`systems/silicon_sample.csv` of the package aiconfigurator-core 0.12.0).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from murakkab.targets.catalog import Model, load_catalog
from murakkab.targets.perfdevice import Device, gpu_device
from murakkab.targets.perfmodel import Query

LANGUAGE, VISION, SILICON = "ML.ENERGY v3, text", "ML.ENERGY v3, pictures", "silicon, end to end"
_FILES = {
    "seed_llm_mlenergy_v3_h100.csv": LANGUAGE,
    "seed_vlm_mlenergy_v3_h100.csv": VISION,
    "seed_silicon_e2e.csv": SILICON,
}


@dataclass(frozen=True, slots=True)
class Task:
    """What is not published of a task: prompt tokens, and the spread of the output's length."""

    isl: float
    spread: float


# Starting points, refitted with the constants (`fit.TASKS`): first turns of chats are short, and
# their answers vary about as much as an exponential distribution; questions with four choices have
# 200 to 300 tokens and long answers of similar length; a picture is about a thousand tokens
# (256 in Gemma 3), a video a few thousand.
TASKS: Mapping[str, Task] = {
    "lm-arena-chat": Task(120.0, 1.0),
    "gpqa": Task(250.0, 0.15),
    "image-chat": Task(1000.0, 0.4),
    "video-chat": Task(3500.0, 0.4),
}
GEMMA_PICTURE_TOKENS = 256.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measured load: seconds, tokens/s, watts of all GPUs; None where it was not measured."""

    source: str
    query: Query
    name: str  # of the model in the file
    task: str
    itl_s: float | None = None
    tpot_s: float | None = None
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    power_w: float | None = None

    @property
    def family(self) -> str:
        """Return what is left out together: models of one architecture, whatever their training."""
        m = self.query.model
        return f"{m.layers}x{m.hidden}x{m.q_heads}x{m.experts}"


def load_rows(data: Path) -> tuple[list[Row], list[str]]:
    """Return every usable row, and the names of models that the catalogue does not have."""
    rows: list[Row] = []
    unknown: list[str] = []
    for file, source in _FILES.items():
        with (data / file).open(newline="", encoding="utf-8") as lines:
            for cells in csv.DictReader(lines):
                if cells.get("below_physical_bound") == "True":
                    continue
                name = cells.get("model_id") or cells["model_path"]
                model = catalogue_model(name)
                if model is None:
                    unknown += [name] if name not in unknown else []
                elif source == SILICON:
                    rows.append(_silicon(cells, name, model))
                else:
                    rows.append(_mlenergy(cells, source, name, model))
    return rows, unknown


def catalogue_model(name: str) -> Model | None:
    """Return the catalogue's model of this name, or of one that is the same but for training."""
    models = {key.lower(): model for key, model in load_catalog().models.items()}
    same = {"thinking": "instruct"}
    lower = name.lower()
    for before, after in same.items():
        lower = lower if lower in models else lower.replace(before, after)
    for wanted in (lower, f"{lower}-instruct", lower.removesuffix("-instruct")):
        if wanted in models:
            return models[wanted]
    return None


def device(name: str) -> Device:
    """Return the catalogue's GPU of a name in the files."""
    return _DEVICES.setdefault(name, gpu_device(load_catalog().gpus[name]))


_DEVICES: dict[str, Device] = {}


def _mlenergy(cells: Mapping[str, str], source: str, name: str, model: Model) -> Row:
    task = TASKS[cells["task"]]
    query = Query(
        model=model,
        device=device(cells["gpu"]),
        tp=int(cells["num_gpus"]),
        batch=float(cells["avg_batch_size"]),
        isl=task.isl,
        osl=float(cells["avg_output_len_tok"]),
        precision="mxfp4" if cells["weight_precision"] == "mxfp4" else "bf16",
        engine="vllm",
        version="0.11.1",
        expert_parallel=int(cells["expert_parallel"]) > 1,
        spread=task.spread,
    )
    return Row(
        source,
        query,
        name,
        cells["task"],
        itl_s=float(cells["median_itl_ms"]) / 1e3,
        tokens_per_s=float(cells["output_tput_tok_s"]),
        power_w=float(cells["avg_power_w_total_gpus"]),
    )


def _silicon(cells: Mapping[str, str], name: str, model: Model) -> Row:
    # `fp4` rows are of gpt-oss, whose experts are published in MXFP4
    precision = {"fp4": "mxfp4", "bf16_assumed": "bf16"}.get(cells["precision"], cells["precision"])
    query = Query(
        model=model,
        device=device({"h100_sxm": "H100", "h200_sxm": "H200"}[cells["system"]]),
        tp=int(float(cells["tp_size"])),
        batch=float(cells["concurrency"]),
        isl=float(cells["isl_tok"]),
        osl=float(cells["osl_tok"]),
        precision=precision,
        engine=cells["backend"],
        version=cells["backend_version"],  # without one it is the newest known
        expert_parallel=float(cells["moe_ep_size"]) > 1,
    )
    return Row(
        SILICON,
        query,
        name,
        f"{query.isl:g} in, {query.osl:g} out",
        tpot_s=float(cells["tpot_ms"]) / 1e3,
        ttft_s=float(cells["ttft_ms"]) / 1e3,
    )
