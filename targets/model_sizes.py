"""What a model's weights hold, by the sizes in its configuration alone.

Of language models this is what is counted to about 0.1 % (norms, biases and routers are left out),
of vision towers to about a third (their projectors are, too).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model_config import (
    EXPERTS,
    HEADS,
    HIDDEN,
    INNER,
    LAYERS,
    Configuration,
    Weights,
    count,
    dense_layers,
    experts_of,
    head_dim,
    judged,
    kind_of,
    packed_bits,
    quantisation,
    quantiser,
    require,
    stated,
)

# Families whose feed-forward networks have two matrices; those of all others are gated: three.
_UNGATED = frozenset(
    {"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "whisper", "gpt2", "gpt_neox"}
    | {"opt", "phi", "falcon", "starcoder2", "bloom"}
)
# Families whose output table is the embedding, where the configuration does not say.
_TIED = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "whisper", "opt", "bloom"})


def weights_by_sizes(found: Configuration) -> Weights:
    """Return what the weights of a model hold, by the sizes in its configuration.

    Raises `InputError` naming every figure that it lacks.
    """
    with judged(found):
        return _weights_by_sizes(found)


def _weights_by_sizes(found: Configuration) -> Weights:
    words, whole = found.words, found.whole
    mixture = stated(words, *EXPERTS) > 1
    # a mixture may have experts in every layer, and no other network to state the size of
    require(
        words, mixture, (*INNER, "moe_intermediate_size") if mixture else INNER, ("vocab_size",)
    )
    layers, hidden = count(words, *LAYERS), count(words, *HIDDEN)
    inner = stated(words, "intermediate_size_mlp", *INNER)
    family = str(words.get("model_type"))
    network = (2 if family in _UNGATED else 3) * float(hidden)
    kind = kind_of(whole)
    attention = _attention(words, hidden) * (2 if kind == "asr" else 1)
    dense = dense_layers(words, layers) if mixture else layers
    routed, shared = _experts(words, network, layers - dense) if mixture else (0.0, 0.0)
    tied = words.get("tie_word_embeddings", whole.get("tie_word_embeddings", family in _TIED))
    tables = 1 if tied or kind in ("embedding", "reranker") else 2
    embedding = float(count(words, "vocab_size") * hidden)
    encoder = _vision(whole) + (_audio(words, hidden) if kind == "asr" else 0.0)
    params = layers * attention + dense * network * inner + routed + shared
    params += tables * embedding + encoder
    bits = _bits_of_weights(found)
    packed = routed if quantiser(words) == "mxfp4" else params - tables * embedding
    kept = params if bits == 16 else params - packed
    size = 2 * kept + (packed * bits / 8 if bits != 16 else 0.0)
    source = f"sizes in `{found.path.parent.name}/{found.path.name}`; parameters follow from them"
    return Weights(params, routed, encoder, size, source)


def _experts(words: Mapping[str, Any], network: float, layers: int) -> tuple[float, float]:
    """Return the parameters of routed experts, and of those that all tokens meet, in all layers.

    `network` is of one expert, for each of its inner numbers.
    """
    expert = network * count(words, "moe_intermediate_size", *INNER)
    shared = expert * stated(words, "n_shared_experts", "num_shared_experts")
    shared += network * stated(words, "shared_expert_intermediate_size")
    if str(words.get("model_type")) == "llama4_text":
        shared += expert  # modeling_llama4.py: one, of which the configuration says nothing
    return layers * expert * experts_of(words)[0], layers * shared


def _attention(words: Mapping[str, Any], hidden: int) -> float:
    """Return the parameters of one layer's attention.

    Those of latent attention: DeepSeek-V2 (arXiv 2405.04434), section 2.1 and appendix C.
    """
    heads = count(words, *HEADS)
    head = head_dim(words, hidden, heads)
    if words.get("kv_lora_rank") is None:
        kv_heads = count(words, "num_key_value_heads", default=heads)
        return float(hidden * head * (2 * heads + 2 * kv_heads))
    value = count(words, "v_head_dim", default=head)
    low, rope = count(words, "kv_lora_rank"), count(words, "qk_rope_head_dim")
    squeezed = stated(words, "q_lora_rank")
    queries = squeezed * (hidden + heads * head) if squeezed else hidden * heads * head
    keys = hidden * (low + rope) + low * heads * (head - rope + value)
    return float(queries + keys + heads * value * hidden)


def _vision(whole: Mapping[str, Any]) -> float:
    """Return the parameters of a vision tower, 0 without one: layers with two matrices."""
    tower = whole.get("vision_config")
    if not isinstance(tower, dict):
        return 0.0
    layers, hidden = stated(tower, "depth", *LAYERS), stated(tower, *HIDDEN)
    return float(layers * (4 * hidden**2 + 2 * hidden * stated(tower, *INNER)))


def _audio(words: Mapping[str, Any], hidden: int) -> float:
    inner = stated(words, "encoder_ffn_dim")
    return float(stated(words, "encoder_layers") * (4 * hidden**2 + 2 * hidden * inner))


def _bits_of_weights(found: Configuration) -> float:
    """Return the bits of a quantised parameter with its scales, 16 where none is quantised."""
    if not quantisation(found.words):
        return 16
    if "fp8" in quantiser(found.words):
        return 8
    if quantiser(found.words) == "mxfp4":
        return 4.25  # 32 numbers share a scale of 8 bits
    return packed_bits(found) or 16
