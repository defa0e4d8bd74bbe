"""How far off a prediction may be: what four of five like it were not further off by.

From the residuals of throughput, step and time per token of architectures that were left out of the
fit (benchmarks/model_accuracy). Where nothing was measured the band is wider by declared factors.
"""

from __future__ import annotations

from typing import Final

from .perfconstants import MEASURED_ENGINES
from .perfmodel import Query

DENSE_PCT, EXPERTS_PCT, EXPERT_PARALLEL_PCT = 8.5, 11.4, 13.2
ANCHORED_PCT, MEASURED_PCT = 7.5, 5.0
ORACLE_PCT = 45.0  # of steps that it tells without the host's share
_SEEN_GPUS: Final = ("H100-SXM5-80GB", "H200-SXM-141GB")
_OTHER_GPU, _OTHER_ENGINE, _OTHER_PRECISION = 1.75, 1.5, 1.25
_CPU_PCT = 50.0
_SEEN_PRECISIONS: Final = ("bf16", "fp8", "mxfp4")


def band(query: Query, source: str) -> float:
    """Return the error band of a prediction, per cent, from where its figures come."""
    if source == "measured":
        return MEASURED_PCT
    if source == "anchored":
        return ANCHORED_PCT
    if source == "aiconfigurator":
        return ORACLE_PCT
    if not query.device.is_gpu:
        return _CPU_PCT
    found = DENSE_PCT
    if query.model.experts:
        found = EXPERT_PARALLEL_PCT if query.expert_parallel and query.tp > 1 else EXPERTS_PCT
    if query.device.type not in _SEEN_GPUS:
        found *= _OTHER_GPU
    if query.engine not in MEASURED_ENGINES:
        found *= _OTHER_ENGINE
    if query.precision not in _SEEN_PRECISIONS:
        found *= _OTHER_PRECISION
    return found
