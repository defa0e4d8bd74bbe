"""Stages that are no language model: speech, detection, embedding, reading of text, diffusion.

An item (an image, 30 s of sound, a denoising step) takes its FLOP over the rate that is sustained:

    rate = efficiency * reference peak * product of (figure / figure of an H100 SXM) ** exponent

Convolutions and transformers over whole inputs gain with the root of the peak in their precision
and of the power limit, as large GPUs run into the one before the other. Speech models that write
tokens read their cached encoder output at each: they gain with bandwidth and power limit.
Efficiencies were fitted on MLPerf Inference 5.1 (Offline, closed division) and the latencies that
Ultralytics states for YOLO26 on a T4: benchmarks/model_accuracy. On a CPU a declared share of the
peak is reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalog import Model
from .perfconstants import CONSTANTS
from .perfdevice import Device

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

REFERENCE = {"bf16": 989e12, "fp8": 1978e12, "int8": 1978e12}  # FLOP/s of an H100 SXM
REFERENCE_BANDWIDTH, REFERENCE_W = 3350e9, 700.0
BUSY_SHARE = 0.8  # of TDP - idle, while a stage works; declared


@dataclass(frozen=True, slots=True)
class StageKind:
    """How a kind of stage uses hardware: share of the reference peak, exponents, small batches.

    A batch takes `launch_s` and as long as `idle_items` more than it has: few items leave units
    idle. band_pct: four of five GPUs that were left out of the fit were not further off.
    """

    efficiency: float
    peak: float
    bandwidth: float
    power: float
    launch_s: float
    idle_items: float
    band_pct: float


_PRODUCTS = (0.5, 0.0, 0.5)
_TOKENS = (0.0, 0.3, 0.7)
# launch and idle items: YOLO26 in TensorRT on a T4 takes 1.3 ms and its FLOP at 18.5 TFLOP/s
_SMALL = (1.3e-3, 0.75)
# faster-whisper 1.2.1: 8 pieces of sound at once are 3.7 times as fast as one
_SMALL_SPEECH = (1.3e-3, 5.0)
STAGE_KINDS: Mapping[str, StageKind] = {
    "detector": StageKind(0.403, *_PRODUCTS, *_SMALL, 12.0),
    "diffusion": StageKind(0.312, *_PRODUCTS, *_SMALL, 8.0),
    "embedding": StageKind(0.312, *_PRODUCTS, *_SMALL, 50.0),  # not measured: as diffusion
    "reranker": StageKind(0.312, *_PRODUCTS, *_SMALL, 50.0),
    "ocr": StageKind(0.312, *_PRODUCTS, *_SMALL, 50.0),
    "asr": StageKind(0.140, *_TOKENS, *_SMALL_SPEECH, 12.0),
}


@dataclass(frozen=True, slots=True)
class StageQuery:
    """A stage's model, what it runs on, and `batch` items at once; tokens of an item where any.

    tokens: read by a text embedding or reranker, written by a speech model.
    """

    model: Model
    device: Device
    batch: float = 1.0
    precision: str = "bf16"
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class StageAnswers:
    """What a batch takes in seconds, items a second, watts and joules; an array each."""

    batch_s: Floats
    items_per_s: Floats
    power_w: Floats

    @property
    def energy_j_per_item(self) -> Floats:
        """Return joules for an item."""
        return self.power_w / self.items_per_s


def item_flops(model: Model, tokens: float) -> float:
    """Return the FLOP of one item: as published, and two for each parameter and token."""
    return model.flops_per_item + 2 * (model.active_params - model.encoder_params) * tokens


def sustained_flops(query: StageQuery, kind: StageKind) -> float:
    """Return the FLOP/s that a stage's device sustains."""
    device = query.device
    peak = device.rate(query.precision)
    if not device.is_gpu:
        return CONSTANTS.compute * peak  # what is reached was taken into its figures
    reference = REFERENCE.get(query.precision, REFERENCE["bf16"])
    if peak == device.rate("bf16"):
        reference = REFERENCE["bf16"]  # the device has no units of the precision
    scale = (peak / reference) ** kind.peak
    scale *= (device.bandwidth_bytes_s / REFERENCE_BANDWIDTH) ** kind.bandwidth
    scale *= (device.busy_w / REFERENCE_W) ** kind.power
    return float(kind.efficiency * reference * scale)


def stage_answers(
    queries: Sequence[StageQuery], kinds: Mapping[str, StageKind] = STAGE_KINDS
) -> StageAnswers:
    """Return what stages take; KeyError for the kind of model that decodes text alone."""
    import numpy as np

    batch = np.array([q.batch for q in queries], dtype=float)
    item_s = np.array(
        [item_flops(q.model, q.tokens) / sustained_flops(q, kinds[q.model.kind]) for q in queries]
    )
    launch_s, idle_items = np.array(
        [(kinds[q.model.kind].launch_s, kinds[q.model.kind].idle_items) for q in queries]
    ).T
    batch_s = launch_s + (batch + idle_items) * item_s
    idle = np.array([q.device.idle_w for q in queries])
    busy = np.array([q.device.busy_w for q in queries])
    working = batch * item_s / batch_s
    return StageAnswers(batch_s, batch / batch_s, idle + BUSY_SHARE * working * (busy - idle))
