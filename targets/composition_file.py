"""From a library file's entries of kind `composition` to compositions, mistakes in their places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, did_you_mean
from .compositions import KNOBS, MOST, Composes, Composition, Figures
from .toml_places import Path as KeyPath
from .toml_source import TomlSource

if TYPE_CHECKING:
    from .library import Quality

# Which key belongs to which kind, and whose settings its figures are by.
_FIGURES: Mapping[str, Mapping[Composes, str]] = {
    "escalates": {"cascade": "threshold"},
    "agrees": {"vote": "votes", "debate": "debaters"},
    "mean_rounds": {"reflect": "rounds", "debate": "rounds"},
}


def bad_composition(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Yield what is wrong with an entry that the schema accepts."""
    kind: Composes = row["composition"]
    yield from _bad_members(source, i, row)
    yield from _bad_choices(source, i, row)
    if "verify" in row and kind != "cascade":
        message = f"`verify` belongs to a cascade, and this is a {kind}"
        yield source.finding("bad-value", message, ("executor", i, "verify"), key=True)
    for key, owners in _FIGURES.items():
        if key not in row:
            continue
        path: KeyPath = ("executor", i, key)
        if kind not in owners:
            message = f"`{key}` belongs to a {' or a '.join(owners)}, and this is a {kind}"
            yield source.finding("bad-value", message, path, key=True)
            continue
        yield from _bad_figures(source, path, row, owners[kind])


def _bad_members(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    members = row.get("members", ())
    for n, name in enumerate(members):
        if name in members[:n]:
            message = f"the member `{name}` stands here twice"
            yield source.finding("bad-value", message, ("executor", i, "members", n))
    if row["composition"] == "cascade" and len(members) == 1:
        message = "a cascade has at least two members, from cheap to strong"
        help = "leave `members` out for the best model and any other"
        yield source.finding("bad-value", message, ("executor", i, "members"), help=help)


def _bad_choices(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    kind: Composes = row["composition"]
    # a verifier answers yes or no: there is no threshold to set
    wanted = {} if row.get("verify") == "task" else KNOBS[kind]
    knobs: Mapping[str, list[float]] = row.get("knobs", {})
    for name in wanted:
        if name not in knobs:
            message = f"a {kind} has no `knobs.{name}`"
            yield source.finding("missing-key", message, ("executor", i))
    for name, choices in knobs.items():
        path: KeyPath = ("executor", i, "knobs", name)
        if name not in wanted:
            hint = did_you_mean(name, wanted)
            listed = " and ".join(f"`{known}`" for known in wanted) or "none"
            message = f"unknown knob `{name}` of a {kind}"
            help = hint or f"its knobs: {listed}"
            yield source.finding("unknown-knob", message, path, key=True, help=help)
            continue
        least = wanted[name]
        for n, choice in enumerate(choices):
            whole = isinstance(least, float) or isinstance(choice, int)
            if not whole or not least <= choice <= MOST:
                what = "a number" if isinstance(least, float) else "a whole number"
                message = f"`{name}` is {what} from {least:g} to {MOST}, not {choice:g}"
                yield source.finding("bad-value", message, (*path, n))


def _bad_figures(
    source: TomlSource, path: KeyPath, row: Mapping[str, Any], knob: str
) -> Iterator[Diagnostic]:
    key = path[-1]
    said = row[str(key)]
    pairs = [(None, said, path)] if not isinstance(said, list) else []
    if isinstance(said, list):
        pairs = [(setting, value, (*path, n, 1)) for n, (setting, value) in enumerate(said)]
    choices = row.get("knobs", {}).get(knob, ())
    for n, (setting, value, place) in enumerate(pairs):
        if setting is not None and setting not in choices:
            message = f"`{key}` has a figure for `{knob}` = {setting}, which is none of its choices"
            yield source.finding("bad-value", message, (*path, n, 0))
        if key != "mean_rounds" and value > 1:
            message = f"`{key}` is a share of calls, from 0 to 1, not {value:g}"
            yield source.finding("bad-value", message, place)
        if key == "mean_rounds" and not 1 <= value <= (MOST if setting is None else setting):
            message = f"`{key}` lies between 1 and the most rounds, not at {value:g}"
            yield source.finding("bad-value", message, place)


def composition(
    source: TomlSource, i: int, row: Mapping[str, Any], quality: Quality
) -> Composition:
    """Return the composition of an entry in which nothing is wrong."""
    at: KeyPath = ("executor", i)
    return Composition(
        name=row["name"],
        kind=row["composition"],
        interface=row.get("implements", "generate"),
        description=row["description"],
        quality=quality,
        knobs=tuple((name, tuple(choices)) for name, choices in row.get("knobs", {}).items()),
        members=tuple(row.get("members", ())),
        verify=row.get("verify", "confidence"),
        escalates=_figures(row.get("escalates", ())),
        agrees=_figures(row.get("agrees", ())),
        mean_rounds=_figures(row.get("mean_rounds", ())),
        digest=_digest(row),
        loc=source.span((*at, "name")),
        members_loc=source.span((*at, "members")) if "members" in row else None,
    )


def _figures(said: Any) -> Figures:
    if isinstance(said, (int, float)):
        return ((None, float(said)),)
    return tuple((setting, float(value)) for setting, value in said)


def _digest(row: Mapping[str, Any]) -> str:
    """Return the digest of what decides a result; figures and descriptions do not."""
    keys = ("composition", "implements", "members", "knobs", "verify")
    decisive = {key: row[key] for key in keys if key in row}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
