"""What an answer of a server says that it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..worker import Usage


def usage_of(document: Mapping[str, Any]) -> Usage:
    """Return what an answer says that it took; servers that do not say leave zeros."""
    said = document.get("usage")
    used = said if isinstance(said, dict) else {}
    details = used.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(
        requests=1,
        prompt_tokens=_count(used.get("prompt_tokens")),
        cached_tokens=_count(cached),
        output_tokens=_count(used.get("completion_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
