"""Target `vllm`: model servers on this host's GPUs and CPU, started here or attached to."""

from __future__ import annotations

from .target import Target

TARGET = Target(
    name="vllm",
    description="this host's GPUs and CPU: model servers, started here or attached to",
    runners=frozenset({"python", "vllm", "openai", "torch"}),
    installed=True,
    described=False,
)
