"""Library entries of functions, for tests that bring their tools as a Python file."""

from __future__ import annotations

_ENTRY = """[[executor]]
name = "{name}"
implements = "{name}"
description = "Does it"
runner = "python"
pooling = "thread"
entry = "{name}"
file = "{file}"
quality = {{ value = 1.0, metric = "m", source = "s" }}
{more}
"""


def python_entries(*names: str, file: str = "tools.py", **more: str) -> str:
    """Return a library (TOML) in which a function of the file does each task of its own name.

    `more` are further lines, by the name of the entry that they belong to.
    """
    return "\n".join(
        _ENTRY.format(name=name, file=file, more=more.get(name, "")) for name in (*names, *more)
    )
