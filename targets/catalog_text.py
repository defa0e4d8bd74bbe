"""A model's figures as the text of a catalogue entry, which `read_catalog` reads back."""

from __future__ import annotations

import json

from .catalog import Model

_BILLION = 1e9


def model_toml(model: Model) -> str:
    """Return a model as one `[[model]]` table; figures that it does not have are left out."""
    names = "[" + ", ".join(map(_string, model.aliases)) + "]"
    rows = [
        ("name", _string(model.name)),
        ("aliases", names if model.aliases else None),
        ("kind", _string(model.kind)),
        ("params_b", _number(model.params / _BILLION)),
        (
            "active_params_b",
            _number(model.active_params / _BILLION)
            if model.active_params != model.params
            else None,
        ),
        ("encoder_params_b", _number(model.encoder_params / _BILLION)),
        ("layers", _number(model.layers)),
        ("hidden", _number(model.hidden)),
        ("q_heads", _number(model.q_heads)),
        ("kv_heads", _number(model.kv_heads)),
        ("head_dim", _number(model.head_dim)),
        ("latent_kv_dim", _number(model.latent_kv_dim)),
        ("window_tokens", _number(model.window_tokens)),
        ("window_fraction", _number(model.window_fraction)),
        ("intermediate", _number(model.intermediate)),
        ("experts", _number(model.experts)),
        ("experts_per_token", _number(model.experts_per_token)),
        ("moe_intermediate", _number(model.moe_intermediate)),
        ("dense_layers", _number(model.dense_layers)),
        ("routed_params_b", _number(model.routed_params / _BILLION)),
        ("vocab", _number(model.vocab)),
        ("context", _number(model.context_tokens)),
        ("precision", None if model.precision == "bf16" else _string(model.precision)),
        ("weights", f'"{model.weight_bytes / _BILLION:.7g} GB"'),
        ("gflops", _number(model.flops_per_item / _BILLION)),
        ("item", _string(model.item) if model.item else None),
        ("source", _string(model.source)),
    ]
    lines = [f"{key} = {text}" for key, text in rows if text is not None]
    return "\n".join(["[[model]]", *lines]) + "\n"


def _number(value: float) -> str | None:
    """Return a figure, or None for 0, which stands for one that is not there."""
    if not value:
        return None
    return str(value) if isinstance(value, int) else format(value, ".7g")


def _string(text: str) -> str:
    # a JSON string is a TOML basic string; only the escape of DEL is missing there
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
