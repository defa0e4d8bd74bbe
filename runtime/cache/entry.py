"""An entry of the cache: a call's result as bytes, which show whether they are whole."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...ir.types import Type
from ..journal import codec


def packed(key: str, value: Any) -> bytes:
    """Return a value as bytes: a digest, a line of JSON, then the content of media it holds.

    Raises `OSError` where a medium in a file cannot be read.
    """
    contents: dict[str, bytes] = {}
    text = codec.written(value, contents.__setitem__)
    sizes = [(sha256, len(content)) for sha256, content in contents.items()]
    head = json.dumps({"result": text, "contents": sizes}).encode() + b"\n"
    body = b"".join((head, *contents.values()))
    return _digest(key, body) + b"\n" + body


def unpacked(key: str, kind: Type, data: bytes) -> Any:
    """Return the value that `packed` wrote for this key; raises `codec.ValueLost`.

    The digest covers the key as well: an entry under another's name is as bad as a torn one.
    """
    digest, _, body = data.partition(b"\n")
    if digest != _digest(key, body):
        raise codec.ValueLost("it is damaged")
    head, _, rest = body.partition(b"\n")
    contents: dict[str, bytes] = {}
    try:
        document = json.loads(head)
        text = document["result"]
        for sha256, size in document["contents"]:
            contents[sha256], rest = rest[:size], rest[size:]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise codec.ValueLost(f"it was not written here: {error}") from error
    return codec.read(kind, text, contents.__getitem__)


def _digest(key: str, body: bytes) -> bytes:
    found = hashlib.sha256(key.encode())
    found.update(body)
    return found.hexdigest().encode()
