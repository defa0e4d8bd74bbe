"""The analytic model of a language-model server, over arrays of queries.

One decode step of `B` sequences with `c` cached tokens each, on `g` GPUs:

    step = host + matrices(B) + attention + communication(B)
    host = step_s + layers * layer_s + B * sequence_s
    matrices(T) = norm_p(dense bytes / bandwidth, 2 * dense parameters * T / peak) / g
                + norm_p(touched(T) * expert bytes / bandwidth, 2 * used * T / peak) / g
    attention = max(B * cache(c) / bandwidth, B * FLOP(c) / peak) / GPUs that share the cache
    communication(T) = 2 * layers * min(start + n * (g-1) / link, ring start + 2n * (g-1)/g / link)

with n = T * hidden * 2 bytes. Experts are not equally popular: with a gamma distribution of shape
`a`, tokens that use `k` of `E` experts touch the share 1 - (1 + T * k / (E * a))^-a of them.
A prompt adds matrices(B + isl) - matrices(B), its attention, its communication and launches; in
the steady state `B / osl` prompts come with each step. The median step has none (prefills come in
bunches), the mean time per token has its share of them.

Figures of hardware are the data sheet's; `perfconstants` says what share of them is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .catalog import Model
from .perfconstants import (
    ACTIVATION_BYTES,
    CONSTANTS,
    PCIE_LINK,
    PCIE_START,
    POWER_LIMITED,
    PRECISIONS,
    PREFILL_TOKENS,
    REFERENCE_W_FLOPS,
    USABLE_MEMORY,
    Constants,
    Precision,
    engine_constants,
)
from .perfstages import STAGE_KINDS, StageQuery, sustained_flops

# kinds of model that read all of an item at once and write no tokens
WHOLE_INPUT = ("detector", "embedding", "reranker", "ocr", "diffusion")

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    from .perfdevice import Device

    Floats = NDArray[float64]


@dataclass(frozen=True, slots=True)
class Query:
    """A server and its load: `batch` requests in flight, each of `isl` and `osl` tokens.

    precision: one of `PRECISIONS`. spread: squared coefficient of variation of the output length;
    with it, sequences that are met in flight are longer than the mean.
    """

    model: Model
    device: Device
    tp: int
    batch: float
    isl: float
    osl: float
    precision: str = "bf16"
    engine: str = "vllm"
    version: str = ""
    expert_parallel: bool = False
    spread: float = 0.0


class Server(NamedTuple):
    """All that depends on model, device, degree, precision and engine; a number or an array each.

    Times are seconds, of the whole replica: divided by the GPUs that share the work.
    """

    host_s: Any  # a step, whatever the batch
    sequence_s: Any  # and for each sequence
    dense_s: Any  # reading the weights that each step reads
    dense_token_s: Any  # their products with one token
    routed_s: Any  # reading all experts
    routed_token_s: Any
    used: Any  # share of the experts that one token uses
    routing: Any
    cache_s: Any  # reading one cached token of the layers without a window
    cache_window_s: Any
    attend_s: Any  # products of one token with one cached token, likewise
    attend_window_s: Any
    window: Any  # tokens
    reduces: Any  # all-reduces of a step
    reduce_s: Any
    reduce_token_s: Any  # and for each token
    ring_s: Any
    ring_token_s: Any
    prompt_s: Any  # launches of a step that has prompts
    first_s: Any
    slot_wait: Any
    reserves: Any
    wait: Any
    burst: Any
    overlap: Any
    weight_bytes: Any  # of each GPU
    own_bytes: Any  # activations and runtime, of each GPU
    usable_bytes: Any  # of each GPU
    cache_bytes: Any  # of each GPU, of one cached token of the layers without a window
    cache_window_bytes: Any
    gpus: Any
    idle_w: Any
    span_w: Any
    peak_token_s: Any  # products of one token at the data sheet's rate
    power_base: Any
    power_compute: Any
    power_attention: Any
    power_sharing: Any


@dataclass(frozen=True, slots=True)
class Answers:
    """What a load makes of servers, an array each; seconds, tokens a second, watts, bytes of a GPU.

    itl_s: median step (decode alone). tpot_s: mean time per output token after the first.
    held: requests that memory holds at once; the others wait. room: how many it would hold.
    missing_bytes: what weights and one request need beyond a GPU's memory; above 0 there is no
    such server, and the other figures are of one with more memory.
    """

    ttft_s: Floats
    itl_s: Floats
    tpot_s: Floats
    prefill_s: Floats
    tokens_per_s: Floats
    held: Floats
    room: Floats
    power_w: Floats
    memory_bytes: Floats
    missing_bytes: Floats

    @property
    def energy_j_per_token(self) -> Floats:
        """Return joules for an output token, of all GPUs."""
        return self.power_w / self.tokens_per_s


def answers(queries: Sequence[Query], constants: Constants = CONSTANTS) -> Answers:
    """Return what each query's load makes of its server; arrays in the order of the queries."""
    import numpy as np

    servers: dict[tuple[object, ...], int] = {}
    made: list[Server] = []
    which: list[int] = []
    for q in queries:
        key = (id(q.model), id(q.device), q.tp, q.precision, q.engine, q.version, q.expert_parallel)
        if key not in servers:
            servers[key] = len(made)
            made.append(server(q, constants))
        which.append(servers[key])
    figures = np.array(made, dtype=float).reshape(-1, len(Server._fields))[which].T
    loads = np.array([(q.batch, q.isl, q.osl, q.spread) for q in queries], dtype=float)
    return steady_state(Server(*figures), *loads.reshape(-1, 4).T)


def server(query: Query, constants: Constants = CONSTANTS) -> Server:
    """Return the figures of a query's server as numbers; its load plays no part."""
    c, model, device, g = constants, query.model, query.device, query.tp
    engine = engine_constants(c, query.engine, query.version)
    precision = PRECISIONS[query.precision]
    dense_bytes, routed_bytes = weights(model, query.precision)
    unread = _embedding_params(model) * 2.0
    bandwidth = device.bandwidth_bytes_s * c.memory
    unpacked = precision.packed and not device.computes_4_bit
    experts_at = bandwidth * (c.packed if unpacked else 1.0)
    dense_at = experts_at if unpacked and not _experts_alone(model, precision) else bandwidth
    rate = "fp8" if precision.packed and not unpacked else precision.rate
    peak = device.rate(rate) * c.compute
    if device.rate(rate) > device.rate("bf16"):
        peak *= c.fp8
    if model.kind in WHOLE_INPUT:
        stage = StageQuery(model, device, precision=rate)
        peak = sustained_flops(stage, STAGE_KINDS[model.kind])
    elif device.is_gpu:
        peak *= (device.busy_w / device.rate("bf16") / REFERENCE_W_FLOPS) ** POWER_LIMITED
    used = model.experts_per_token / model.experts if model.experts else 0.0
    routed_used = model.routed_params * used
    dense_used = model.active_params - routed_used - _embedding_params(model)
    imbalance = c.imbalance if query.expert_parallel and g > 1 and model.experts else 1.0
    latent = bool(model.latent_kv_dim)
    shared_by = 1 if latent else min(g, max(model.kv_heads, 1))
    number_bytes = 1.0 if engine.small_cache and query.precision == "fp8" else 2.0
    cached = (
        model.layers * number_bytes * (model.latent_kv_dim or 2 * model.kv_heads * model.head_dim)
    )
    at_cache = device.bandwidth_bytes_s * c.cache * shared_by
    # latent attention compares each head with the whole cached vector
    numbers = 2 * model.latent_kv_dim if latent else 2 * model.head_dim
    attend = 2.0 * model.layers * model.q_heads * numbers / (g * device.rate("bf16") * c.compute)
    if model.kind in WHOLE_INPUT:
        attend = 0.0  # what is read is many items, each apart from the others
    windowed = model.window_fraction
    link = device.link_bytes_s * c.link * (1.0 if device.peer_access else PCIE_LINK)
    start = 1.0 if device.peer_access else PCIE_START
    message = model.hidden * 2.0
    return Server(
        host_s=engine.step_s + model.layers * engine.layer_s,
        sequence_s=engine.sequence_s,
        dense_s=max(dense_bytes - unread, 0.0) / (g * dense_at),
        dense_token_s=2 * max(dense_used, 0.0) / (g * peak),
        routed_s=imbalance * routed_bytes / (g * experts_at),
        routed_token_s=imbalance * 2 * routed_used / (g * peak * c.expert_compute),
        used=used,
        routing=c.routing,
        cache_s=cached * (1 - windowed) / at_cache,
        cache_window_s=cached * windowed / at_cache,
        attend_s=attend * (1 - windowed),
        attend_window_s=attend * windowed,
        window=model.window_tokens,
        reduces=2.0 * model.layers if g > 1 else 0.0,
        reduce_s=c.all_reduce_s * start,
        reduce_token_s=message * (g - 1) / link,
        ring_s=c.ring_s * start,
        ring_token_s=message * 2 * (g - 1) / g / link,
        prompt_s=model.layers * engine.prefill_layer_s,
        first_s=engine.first_token_s,
        slot_wait=engine.slot_wait,
        reserves=float(engine.reserves),
        wait=c.wait,
        burst=c.burst,
        overlap=c.overlap,
        weight_bytes=(dense_bytes + routed_bytes) / g,
        own_bytes=device.runtime_bytes + PREFILL_TOKENS * model.hidden * ACTIVATION_BYTES / g,
        usable_bytes=device.memory_bytes * USABLE_MEMORY,
        cache_bytes=cached * (1 - windowed) / shared_by,
        cache_window_bytes=cached * windowed / shared_by,
        gpus=g,
        idle_w=device.idle_w,
        span_w=device.busy_w - device.idle_w,
        peak_token_s=2 * model.active_params / (g * device.rate("bf16")),
        power_base=c.power_base,
        power_compute=c.power_compute,
        power_attention=c.power_attention,
        power_sharing=c.power_sharing,
    )


def steady_state(s: Server, batch: Any, isl: Any, osl: Any, spread: Any = 0.0) -> Answers:
    """Return what loads make of a server, or of an array of servers each.

    Numbers and arrays broadcast as numpy does. Output lengths below 1 count as 1.
    """
    import numpy as np

    osl = np.maximum(osl, 1.0)
    met = isl + osl / 2 * (1 + spread)  # tokens of a sequence met in flight
    held_tokens = np.where(s.reserves > 0, isl + osl, met)
    room = sequences(s, held_tokens)
    held = np.maximum(np.minimum(batch, room), 1.0)
    itl = step_s(s, held, met)
    prefill = prefill_s(s, held, isl, osl)
    tpot = itl + held / osl * prefill
    rate = held / tpot
    cycle = osl * tpot
    waiting = np.maximum(batch - held, 0.0) * cycle / held
    ttft = s.first_s + prefill * np.maximum(s.wait * held**s.burst, 1.0)
    ttft = ttft + s.slot_wait * cycle / held + waiting
    power = power_w(s, held, met, tpot, rate * (1 + isl / osl))
    kept = s.weight_bytes + s.own_bytes
    memory = kept + held * _cached_bytes(s, held_tokens)
    missing = kept + _cached_bytes(s, isl + osl) - s.usable_bytes
    return Answers(ttft, itl, tpot, prefill, rate, held, room, power, memory, missing)


def step_s(s: Server, batch: Any, met: Any) -> Any:
    """Return the seconds of a decode step of `batch` sequences that have `met` tokens each."""
    own = s.host_s + batch * s.sequence_s
    return own + _matrices(s, batch) + _attention(s, batch, met) + _reduced(s, batch)


def prefill_s(s: Server, batch: Any, isl: Any, osl: Any) -> Any:
    """Return the seconds that one prompt adds to the steps of `batch` sequences it comes among.

    Where more than one comes with each step, they share what a step with prompts takes more.
    """
    import numpy as np

    bunch = np.maximum(batch / osl, 1.0)
    tokens = np.minimum(bunch * isl, PREFILL_TOKENS)  # of prompts in a step that has some
    share = tokens / np.maximum(isl, 1.0)  # prompts in such a step
    more = _matrices(s, batch + tokens) - _matrices(s, batch)
    more = more + _reduced(s, batch + tokens) - _reduced(s, batch)
    half = isl / 2
    attended = isl * (s.attend_s * half + s.attend_window_s * np.minimum(half, s.window))
    prefill = (more + s.prompt_s) / np.maximum(share, 1e-9) + attended
    return np.where(isl > 0, prefill, 0.0)


def power_w(s: Server, batch: Any, met: Any, tpot: Any, tokens_per_s: Any) -> Any:
    """Return the draw of all GPUs, decoding and reading so many tokens a second."""
    import numpy as np

    worked = np.sqrt(np.minimum(tokens_per_s * s.peak_token_s, 1.0))
    attending = _attention(s, batch, met) / tpot
    drawn = s.power_base + s.power_compute * worked + s.power_attention * attending
    drawn = drawn - s.power_sharing * (1 - 1 / s.gpus)
    return s.gpus * (s.idle_w + np.clip(drawn, 0.0, 1.0) * s.span_w)


def sequences(s: Server, tokens: Any) -> Any:
    """Return how many sequences of this length the memory beside the weights holds."""
    import numpy as np

    free = s.usable_bytes - s.weight_bytes - s.own_bytes
    return free / np.maximum(_cached_bytes(s, np.maximum(tokens, 1.0)), 1e-9)


def weights(model: Model, precision: str) -> tuple[float, float]:
    """Return the bytes of a model's weights in a precision: outside its experts, and in them.

    Embeddings stay in 16 bits where weights are converted. As published they are what their files
    hold.
    """
    kept = PRECISIONS[precision]
    routed = model.routed_params * kept.weight_bytes
    if precision == model.precision:
        # folders of packed weights say how many bytes they have, not always in what precision
        routed = min(routed, model.weight_bytes * model.routed_params / model.params)
        return model.weight_bytes - routed, routed
    dense = model.params - model.routed_params
    if _experts_alone(model, kept):
        return dense * 2.0, routed
    embedding = min(_embedding_params(model) * 2, dense) if kept.weight_bytes < 2 else 0.0
    return embedding * 2.0 + (dense - embedding) * kept.weight_bytes, routed


def _experts_alone(model: Model, precision: Precision) -> bool:
    """Tell whether a precision is that of a model's experts alone."""
    return precision.experts_only and model.routed_params > 0


def _embedding_params(model: Model) -> float:
    """Return the parameters of an input embedding of its own, which a step does not read.

    A model whose output layer is that same table reads it. Which it is shows in the parameters
    that are left when the layers are taken away, where their sizes are known.
    """
    table = float(model.vocab * model.hidden)
    if not table or model.experts or not model.intermediate:
        return table
    heads = 2 * (model.q_heads + model.kv_heads) * model.head_dim
    layers = model.layers * model.hidden * (heads + 3 * model.intermediate)
    left = model.params - model.encoder_params - layers
    return table if left > 1.5 * table else 0.0


def _matrices(s: Server, tokens: Any) -> Any:
    """Return the seconds of a step's matrix products with this many tokens."""
    p = s.overlap
    dense = (s.dense_s**p + (tokens * s.dense_token_s) ** p) ** (1 / p)
    touched = 1 - (1 + s.used * tokens / s.routing) ** -s.routing
    routed = ((touched * s.routed_s) ** p + (tokens * s.routed_token_s) ** p) ** (1 / p)
    return dense + routed


def _attention(s: Server, batch: Any, met: Any) -> Any:
    """Return the seconds of a step's attention of sequences over their cached tokens."""
    import numpy as np

    in_window = np.minimum(met, s.window)
    read = s.cache_s * met + s.cache_window_s * in_window
    return batch * np.maximum(read, s.attend_s * met + s.attend_window_s * in_window)


def _reduced(s: Server, tokens: Any) -> Any:
    """Return the seconds of a step's all-reduces of this many tokens."""
    import numpy as np

    direct = s.reduce_s + tokens * s.reduce_token_s
    return s.reduces * np.minimum(direct, s.ring_s + tokens * s.ring_token_s)


def _cached_bytes(s: Server, tokens: Any) -> Any:
    import numpy as np

    return s.cache_bytes * tokens + s.cache_window_bytes * np.minimum(tokens, s.window)
