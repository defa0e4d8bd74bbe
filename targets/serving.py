"""One model server of the analytic model, asked for one load at a time.

The arithmetic is `perfmodel`'s, on plain numbers: what a cost model asks many times, with
everything that does not depend on the load worked out once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .catalog import Model
from .cluster import Pool
from .cost import BANDS
from .perfbands import band
from .perfconstants import PRECISIONS
from .perfdevice import cpu_device, gpu_device
from .perfmodel import Query, Server, power_w, prefill_s, sequences, server, step_s
from .perfstages import STAGE_KINDS


@dataclass(frozen=True)
class Serving:
    """A model on GPUs, or on a CPU; seconds, watts and bytes of all of them together.

    `error_band` is how far off the times of whole requests may be, relative.
    """

    server: Server
    error_band: float
    free_bytes: float = field(init=False)
    idle_w: float = field(init=False)

    def __post_init__(self) -> None:
        """Work out what no load changes."""
        s = self.server
        free = s.gpus * (s.usable_bytes - s.own_bytes - s.weight_bytes)
        object.__setattr__(self, "free_bytes", float(free))
        object.__setattr__(self, "idle_w", float(s.gpus * s.idle_w))

    def gpu_bytes(self, kept: float) -> float:
        """Return what of each GPU's memory is needed to keep so many bytes of keys and values.

        Weights, activations and what the runtime takes for itself come on top of those; and
        `SERVED_TOKENS` of one sequence are kept at least, or no server would start.
        """
        s = self.server
        one = self.free_bytes / max(1.0, self.sequences(SERVED_TOKENS))
        return float(s.weight_bytes + s.own_bytes + max(kept, one) / s.gpus)

    def step_s(self, batch: float, context: float) -> float:
        """Return the time of a decode step of `batch` sequences that have `context` tokens each."""
        return float(step_s(self.server, batch, context))

    def prefill_s(self, prompt: float, batch: float, output: float) -> float:
        """Return what one prompt takes of a server that decodes `batch` such requests."""
        return float(prefill_s(self.server, batch, prompt, max(output, 1.0)))

    def power_w(self, batch: float, prompt: float, output: float) -> float:
        """Return the draw with `batch` requests of these lengths in flight."""
        output = max(output, 1.0)
        context = prompt + output / 2
        token_s = self.step_s(batch, context)
        token_s += batch / output * self.prefill_s(prompt, batch, output)
        rate = batch / token_s * (1 + prompt / output)
        return float(power_w(self.server, batch, context, token_s, rate))

    def sequences(self, tokens: float) -> float:
        """Return how many sequences of this length the memory beside the weights holds."""
        if self.free_bytes < 0:
            return 0.0
        held = float(sequences(self.server, tokens))
        return held if held < _NO_LIMIT else math.inf


SERVED_TOKENS = 8192.0  # a replica that cannot hold one sequence this long is not offered
_NO_LIMIT = 1e12  # sequences of a model that keeps nothing between its steps


def serving_on(model: Model, pool: Pool, gpus: int, cores: int) -> Serving:
    """Return a model on some GPUs of a node, or on some cores of its CPU where there are none."""
    if gpus == 0 or pool.gpu is None:
        device = cpu_device(pool.cpu, cores, pool.memory_bytes)
    else:
        device = gpu_device(pool.gpu)
    precision = model.precision if model.precision in PRECISIONS else "bf16"
    asked = Query(model, device, max(gpus, 1), batch=1, isl=0, osl=1, precision=precision)
    return Serving(server(asked), _band(asked))


def _band(asked: Query) -> float:
    """Return at least what is declared: the model's own band is of steps, which vary less."""
    stage = STAGE_KINDS.get(asked.model.kind)
    own_pct = band(asked, "analytic") if stage is None else stage.band_pct
    return max(BANDS["analytic"], own_pct / 100)
