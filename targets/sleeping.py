"""How long model servers take to fall asleep and to wake: vLLM's sleep mode.

Level 1 moves weights to host memory and back. vLLM measured 0.1 to 6 s to wake models of 0.6B to
235B parameters (blog.vllm.ai/2025/10/26/sleep-mode.html); what is declared here is meant to be
above that.
"""

from __future__ import annotations

from .library import Executor

SLEEP_S = 1.0  # to fall asleep, and again to wake
SLEEP_BYTES_S = 10e9  # weights between host memory and each GPU; less than half of PCIe 4.0 x16


def change_s(
    executor: Executor, gpus: int, weight_bytes: float, measured: tuple[float, float] | None
) -> float:
    """Return the seconds to put a server to sleep and wake another; 0 where none can sleep.

    Both are this server's (`measured`, or declared): that of the other to fall asleep is taken to
    be like it.
    """
    if not gpus or executor.runner != "vllm" or executor.endpoint is not None:
        return 0.0  # builds for CPUs have no sleep mode, nor have other servers
    if measured is not None:
        return sum(measured)
    return 2.0 * (SLEEP_S + weight_bytes / gpus / SLEEP_BYTES_S)
