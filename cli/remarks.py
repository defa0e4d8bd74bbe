"""How remarks of passes are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .display import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ir.remarks import Remark

_SHOWN = 4  # places of one remark


def told(remark: Remark) -> str:
    """Return a remark in a line: where, which rewrite of which pass, and what or why not."""
    verdict = "" if remark.applied else " refused"
    where = f"{_places(remark)}: " if remark.places else ""
    return safe(f"{where}{remark.pass_name} {remark.rewrite}{verdict}: {remark.text}")


def account(remarks: Sequence[Remark]) -> str:
    """Return what was rewritten, and what was not and why, for people to read; may be empty."""
    parts = [
        _section("rewritten", [r for r in remarks if r.applied]),
        _section("not rewritten", [r for r in remarks if not r.applied]),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, remarks: Sequence[Remark]) -> str:
    if not remarks:
        return ""
    groups: dict[str, list[str]] = {}  # what was said, and of which places
    for remark in remarks:
        places = groups.setdefault(f"{remark.pass_name} {remark.rewrite}: {remark.text}", [])
        places += [_places(remark)] if remark.places else []
    lines = [f"{title}:"]
    for said, places in groups.items():
        lines += [safe(f"  {said}"), *(safe(f"    {place}") for place in places)]
    return "\n".join(lines)


def _places(remark: Remark) -> str:
    shown, more = remark.places[:_SHOWN], len(remark.places) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
