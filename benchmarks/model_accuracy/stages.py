"""Stages that are no language model, on GPUs that were left out: MLPerf Inference 5.1, Offline.

`seed_mlperf51.csv` is from https://github.com/mlcommons/inference_results_v5.1 (965182b,
`summary_results.json`); a device's rate is the system's over its accelerators.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rows import device

from murakkab.targets.catalog import load_catalog
from murakkab.targets.perfstages import STAGE_KINDS, StageKind, StageQuery, stage_answers

# Names in the file, in the catalogue, and how often an item of the catalogue is done for one
# sample: 20 denoising steps with guidance are 40; Whisper writes 63.5 tokens for a sample (its
# rates in tokens over those in samples).
MODELS = {
    "retinanet": ("retinanet-resnext50-32x4d-fpn", 1.0, 0.0),
    "stable-diffusion-xl": ("stabilityai/stable-diffusion-xl-base-1.0", 40.0, 0.0),
    "whisper": ("openai/whisper-large-v3", 1.0, 63.5),
}
GPUS = {
    "NVIDIA B200-SXM-180GB": "B200",
    "NVIDIA H200-SXM-141GB": "H200",
    "NVIDIA H100-SXM-80GB": "H100",
    "NVIDIA H100-NVL-94GB": "H100-NVL-94GB",
    "NVIDIA L4-PCIe-24GB": "L4",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX-PRO-6000",
}
PRECISIONS = {"retinanet": "int8", "stable-diffusion-xl": "fp8", "whisper": "bf16"}
BATCH = 256.0  # offline: large enough that it does not count


@dataclass(frozen=True)
class StageRow:
    """One submission: samples a second of one device."""

    benchmark: str
    gpu: str
    query: StageQuery
    items_per_s: float


def stage_rows(data: Path) -> tuple[list[StageRow], list[str]]:
    """Return the rows on GPUs, and the devices that the catalogue does not have."""
    catalog = load_catalog()
    found: list[StageRow] = []
    unknown: list[str] = []
    with (data / "seed_mlperf51.csv").open(newline="", encoding="utf-8") as lines:
        for cells in csv.DictReader(lines):
            if cells["benchmark"] not in MODELS or cells["device"].startswith("CPU"):
                continue
            gpu = GPUS[cells["device"]]
            if gpu not in catalog.gpus:
                unknown.append(cells["device"])
                continue
            name, repeats, tokens = MODELS[cells["benchmark"]]
            rate = float(cells["result_per_device"])
            if cells["whisper_samples_per_s"]:
                rate = float(cells["whisper_samples_per_s"]) / int(cells["n_acc"])
            query = StageQuery(
                catalog.models[name], device(gpu), BATCH, PRECISIONS[cells["benchmark"]], tokens
            )
            found.append(StageRow(cells["benchmark"], gpu, query, rate * repeats))
    return found, unknown


def fitted(rows: list[StageRow]) -> Mapping[str, StageKind]:
    """Return the kinds with the efficiencies that rows show; each GPU counts once for each."""
    kinds = dict(STAGE_KINDS)
    for kind in {row.query.model.kind for row in rows}:
        of_kind = [row for row in rows if row.query.model.kind == kind]
        shown = stage_answers([row.query for row in of_kind], kinds).items_per_s
        by_gpu: dict[str, list[float]] = {}
        for row, predicted in zip(of_kind, shown, strict=True):
            by_gpu.setdefault(row.gpu, []).append(float(np.log(row.items_per_s / predicted)))
        factor = float(np.exp(np.mean([np.mean(logs) for logs in by_gpu.values()])))
        kinds[kind] = replace(kinds[kind], efficiency=kinds[kind].efficiency * factor)
    return kinds


def left_out_gpus(rows: list[StageRow]) -> list[float]:
    """Return the error of each row, per cent, from efficiencies fitted without its GPU."""
    errors = []
    for row in rows:
        rest = [other for other in rows if other.gpu != row.gpu]
        predicted = float(stage_answers([row.query], fitted(rest)).items_per_s[0])
        errors.append(100 * (predicted / row.items_per_s - 1))
    return errors


def report(data: Path) -> float:
    """Print the errors of every row; return their mean size."""
    rows, unknown = stage_rows(data)
    if unknown:
        print(f"not in the catalogue, left out: {', '.join(sorted(set(unknown)))}")
    errors = left_out_gpus(rows)
    print(f"{'stage':24}{'GPU':18}{'measured/s':>12}{'error %':>9}")
    for row, error in zip(rows, errors, strict=True):
        print(f"{row.benchmark:24}{row.gpu:18}{row.items_per_s:12.2f}{error:9.1f}")
    for kind, figures in fitted(rows).items():
        if any(row.query.model.kind == kind for row in rows):
            print(f"efficiency of {kind}: {figures.efficiency:.3f}")
    return float(np.mean(np.abs(errors)))
