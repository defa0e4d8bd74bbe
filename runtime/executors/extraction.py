"""`extract` for text that names its fields: `total: 12.50`."""

from __future__ import annotations

import re


def extract(text: str, fields: list[str]) -> dict[str, str | None]:
    """Return, for each field, what follows `field:` or `field =` on a line of the text, else null.

    Letter case and the kind of space or underscore between a field's words do not matter; the
    first occurrence counts. Understands no prose: `we paid 12.50 in total` yields nothing.
    """
    return {field: _value(text, field) for field in fields}


def _value(text: str, field: str) -> str | None:
    name = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", field.strip())))
    found = re.search(rf"^[\s*•-]*{name}\**\s*[:=]\s*(\S.*?)\s*$", text, re.I | re.M)
    return found[1] if found else None
