"""`webhook`: one HTTP POST of a task's parameters as JSON."""

from __future__ import annotations

import json
import os

from ..media import Media
from .errors import ExecutorError

_RETRYABLE_STATUS = frozenset({408, 429})


def webhook(
    *,
    url: str | None = None,
    url_env: str | None = None,
    timeout_s: float = 10.0,
    idempotency_key: str | None = None,
    **fields: object,
) -> bool:
    """Post the fields as a JSON object and return whether the server accepted them (2xx): true.

    The address is the library entry's `url`, or the value of the environment variable it names in
    `url_env`. `idempotency_key` becomes the header of that name, by which a server recognises a
    repetition. Redirections are not followed: they would turn the POST into a GET. Raises
    `ExecutorError`, retryable where the server could not be reached or said 408, 429 or 5xx.
    """
    import http.client
    import socket
    import urllib.error
    import urllib.request

    address = _address(url, url_env)
    headers = {"Content-Type": "application/json", "User-Agent": "murakkab"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    body = json.dumps(fields, default=_unsendable, ensure_ascii=False).encode()

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        request = urllib.request.Request(address, body, headers, method="POST")
        with urllib.request.build_opener(NoRedirect).open(request, timeout=timeout_s):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        retryable = error.code in _RETRYABLE_STATUS or error.code >= 500
        message = f"the web hook answered {error.code} {error.reason}".rstrip()
        raise ExecutorError(message, retryable=retryable) from error
    except (ValueError, http.client.InvalidURL) as error:  # a port that is no number, a line break
        message = "the address or the key of `webhook` is not valid in HTTP"
        raise ExecutorError(message, untouched=True) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error or type(error).__name__
        message = f"the web hook cannot be reached: {reason}"
        untouched = isinstance(
            reason, (ConnectionRefusedError, socket.gaierror)
        )  # nothing was sent
        raise ExecutorError(message, retryable=True, untouched=untouched) from error


def _address(url: str | None, url_env: str | None) -> str:
    address = url or (os.environ.get(url_env) if url_env else None)
    if not address:
        place = f"the environment variable `{url_env}`" if url_env else "`settings.url`"
        message = f"`webhook` has no address; set {place} to an http or https URL"
        raise ExecutorError(message, untouched=True)
    if not address.startswith(("http://", "https://")):
        # Not quoted: an address often is a secret. `file:` and `ftp:` would open as well.
        message = "the address of `webhook` is not an http or https URL"
        raise ExecutorError(message, untouched=True)
    return address


def _unsendable(value: object) -> object:
    if isinstance(value, Media):
        raise ExecutorError(
            f"`webhook` sends JSON and cannot send `{value.name}`; send its text or a link to it",
            untouched=True,
        )
    message = f"`webhook` cannot send a value of type `{type(value).__name__}`"
    raise ExecutorError(message, untouched=True)
