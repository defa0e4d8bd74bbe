"""vLLM's sleep mode: a server that gives its GPU memory up and takes it again.

Level 1 moves the weights to host memory and wakes in a second or so; level 2 forgets them and reads
them from disk again. Both drop the keys and values. Servers without the mode (CPU builds, other
programs) answer 404, and are stopped instead.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ..errors import CallFailed

if TYPE_CHECKING:
    from .client import HttpClient
from .metrics import samples

_WITHIN_S = 600.0


async def fall_asleep(client: HttpClient, base: str) -> float | None:
    """Put a server to sleep; return how long that took, None where it cannot sleep.

    Level 1 is tried first; where the host has no memory for the weights, level 2.
    """
    began_s = monotonic()
    for level in (1, 2):
        status = await _post(client, f"{base}/sleep?level={level}")
        if status == 200:
            return monotonic() - began_s
        if status in (None, 404, 405):
            return None
    return None


async def is_asleep(client: HttpClient, base: str) -> bool:
    """Tell whether a server sleeps; one without the mode does not."""
    said = await client.text(f"{base}/is_sleeping")
    return said is not None and '"is_sleeping":true' in said.replace(" ", "")


async def wake_up(client: HttpClient, base: str) -> float:
    """Wake a server; return how long that took. Raises `CallFailed`.

    After level 2 the weights have to be read again; after level 1 that changes nothing, so it is
    only done where the server says that it discarded them.
    """
    began_s = monotonic()
    discarded = await _discarded(client, base)
    if await _post(client, f"{base}/wake_up") != 200:
        raise CallFailed(f"the server at `{base}` does not wake up", retryable=True)
    if discarded:
        reload = {"method": "reload_weights"}
        if await _post(client, f"{base}/collective_rpc", reload) != 200:
            message = f"the server at `{base}` woke up and cannot read its weights"
            raise CallFailed(message, retryable=True)
    return monotonic() - began_s


async def _discarded(client: HttpClient, base: str) -> bool:
    text = await client.text(f"{base}/metrics") or ""
    try:
        return any(
            sample.value == 1.0 and 'sleep_state="discard_all"' in sample.labels
            for sample in samples(text, ("vllm:engine_sleep_state",))
        )
    except ValueError:
        return False


async def _post(client: HttpClient, url: str, body: dict[str, str] | None = None) -> int | None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_WITHIN_S)
    try:
        async with client.session(url).post(url, json=body, timeout=timeout) as response:
            await response.read()
            return response.status
    except (TimeoutError, aiohttp.ClientError, OSError):
        return None
