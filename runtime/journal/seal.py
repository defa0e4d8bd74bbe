"""Seals: they tell what this user's own runs have written from what anybody may have.

A journal names the libraries whose code its run needs. Whoever hands somebody a journal could name
others there, so it is believed only where it bears a seal: an HMAC-SHA256 (RFC 2104) with a key
that only this user has, in `$XDG_STATE_HOME/murakkab` or `~/.local/state/murakkab`.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

_KEY_BYTES = 32


def seal(text: str) -> str:
    """Return the seal of a text; it is empty where no key can be kept, and then seals nothing."""
    key = _key()
    return hmac.new(key, text.encode(), "sha256").hexdigest() if key is not None else ""


def is_sealed(text: str, found: str) -> bool:
    """Tell whether a seal is this user's, of this text."""
    return bool(found) and hmac.compare_digest(seal(text).encode(), found.encode())


def _key() -> bytes | None:
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(home) / "murakkab" / "seal.key"
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except (OSError, RuntimeError):  # no home, or none to write to
        return None
    return key if len(key) == _KEY_BYTES else None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    with suppress(FileExistsError):  # another run was first: its key is the one
        os.link(new, path)
    new.unlink()
