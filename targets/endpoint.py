"""Endpoints: OpenAI-compatible servers that already run, instead of any that would be started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """An OpenAI-compatible server that already runs, and what it may be asked.

    `url` is its base, the part before `/chat/completions`; `model` the name it knows the model by,
    None for the executor's. The key stands in the environment variable `key_env`, never here.
    `usd_per_mtok` is the price of a million tokens, of prompts and of outputs; `max_usd` is what a
    command may spend there.
    """

    url: str
    key_env: str | None = None
    model: str | None = None
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    max_usd: float | None = None
    usd_per_mtok: tuple[float, float] | None = None


_MAX_URL = 2000  # characters; the schema of plans has the same bound


def base_url(url: str) -> str:
    """Return a usable URL as plans hold it: scheme in lower case, no slash at the end."""
    scheme, rest = url.split("://", 1)
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def unusable_url(url: str) -> str | None:
    """Return what keeps a URL from being the address of an endpoint, None where nothing does.

    User names, queries and fragments are refused: keys hide there, and plans hold URLs.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "it is not an `http://` or `https://` URL"
    if parts.username is not None or parts.password is not None:
        return "it holds a user name; put a key into an environment variable (`key_env`)"
    # the marks, not what follows: `http://host/v1?` would ask for `/v1?/chat/completions`
    if any(mark in url for mark in "?#@"):
        return "it holds more than a path; put a key into an environment variable (`key_env`)"
    if len(url) > _MAX_URL:
        return f"it has over {_MAX_URL} characters"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "it holds a space or a control character"
    return None


def moved(plan: EndpointPlan, url: str) -> EndpointPlan:
    """Return an endpoint at another address; to another host the key does not go along."""
    here = base_url(url)
    same = urlsplit(here).netloc == urlsplit(plan.url).netloc
    return replace(plan, url=here, key_env=plan.key_env if same else None)
