"""What a run notes in its journal for whoever takes it up: with which files it was begun."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from .database import unusable
from .seal import is_sealed, seal

if TYPE_CHECKING:
    from ...targets.plan import Plan
    from .journal import Journal


@dataclass(frozen=True, slots=True)
class Memo:
    """What is not in the plan: libraries (absolute paths), and endpoints by executor.

    A `disposable` journal is deleted once the result is told; `results` is the file that it goes
    to, None where it goes to who asked for it. It is `believed` where this user has written it.
    """

    libraries: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    disposable: bool = False
    results: str | None = None
    believed: bool = True

    def to_json(self, plan: Plan) -> str:
        """Return the form that a journal of the plan keeps, with a seal."""
        noted = asdict(self)
        del noted["believed"]
        text = json.dumps(noted)
        plan_sha256 = hashlib.sha256(plan.to_json().encode()).hexdigest()
        return json.dumps({"noted": text, "seal": seal(f"{plan_sha256} {text}")})


def memo_of(journal: Journal) -> Memo:
    """Return what was noted; raises `InputError` where that is damaged.

    What is not `believed` may be anybody's words: no code may run, and no file be written, by them.
    """
    damaged = unusable(journal.path, "what it says of libraries and endpoints is damaged")
    try:
        memo = json.loads(journal.header.memo)
        text, found_seal = memo["noted"], memo["seal"]
        believed = is_sealed(f"{journal.header.plan_sha256} {text}", found_seal)
        found = Memo(**json.loads(text), believed=believed)
        texts = [*found.libraries, *found.endpoints, *found.endpoints.values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    if not all(isinstance(text, str) for text in [*texts, found.results or ""]):
        raise damaged
    return found


def refuse_unbelieved(journal: Journal, memo: Memo, **given: bool) -> None:
    """Raise `InputError` where a journal must be told again what it notes, and is not.

    `given` says of `library`, `endpoint` and `results` whether the user has named them.
    """
    noted = {"library": memo.libraries, "endpoint": memo.endpoints, "results": memo.results}
    missing = [f"`--{name}`" for name, what in noted.items() if what and not given.get(name)]
    if memo.believed or not missing:
        return
    why = "was not begun by this user here, so what it says of libraries and places is not believed"
    hint = f"give {' and '.join(missing)} with `--resume`, as for the run that began it"
    raise unusable(journal.path, why, hint)
