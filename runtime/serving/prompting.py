"""How a call becomes what a language or embedding model reads: messages, and texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from ...ir.template import Placeholder, TemplateError, parse_template
from ...targets.library import Executor
from ..errors import CallFailed
from ..media import Media
from ..program import Step
from .parts import is_scene, media_part, scene_shown

Piece = str | dict[str, Any]  # text, or a part of a message that holds a medium


def chat_messages(
    executor: Executor, step: Step, arguments: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the `messages` of a chat request: the system text where there is one, and the prompt.

    `arguments` are by `step.params`. A task's own `prompt` and `system` come before those of the
    library's executor. The content of a message is a string, or with media in it a list of parts.

    What stands for a placeholder: Text itself; nothing for none; a medium as a part of its own;
    a list of media as these alone, one after the other; anything else as compact JSON, in which
    media are parts in the places of their values. A scene's video is cut to the scene, which takes
    time, as reading media does: call it outside the event loop where parameters hold media.
    Raises `CallFailed` where no prompt can be made of it.
    """
    own = {p.name: arguments[name] for p, name in zip(step.task.params, step.params, strict=True)}
    prompt = _content(step.task.prompt, own, executor.prompt, arguments, executor)
    if prompt is None:
        raise CallFailed(
            f"neither the task `{step.task.name}` nor the executor `{executor.name}` has a prompt",
            help=f"give the task a `prompt`, or `{executor.name}` one in its library",
        )
    system = _content(step.task.system, own, executor.system, arguments, executor)
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": prompt}]


def input_text(step: Step, arguments: Mapping[str, Any]) -> str:
    """Return the text that an embedding model is given: the one argument.

    Raises `CallFailed` where that is no text.
    """
    values = list(arguments.values())
    if len(values) != 1 or not isinstance(values[0], str):
        raise CallFailed(
            f"`{step.task.name}` cannot be embedded: embedding models take one Text, nothing else"
        )
    return _sendable(values[0])


def _content(
    own: str | None,
    own_values: Mapping[str, Any],
    shared: str | None,
    shared_values: Mapping[str, Any],
    executor: Executor,
) -> str | list[dict[str, Any]] | None:
    """Fill in the task's text, or else that of the library's executor; None without either."""
    template, values = (shared, shared_values) if own is None else (own, own_values)
    if template is None:
        return None
    try:
        return _filled(template, values)
    except TemplateError as error:
        reason = str(error)
    except _Unknown as error:
        reason = f"`{error.placeholder}` names nothing that it is given"
    # the compiler has checked what authors write, but not libraries and plans changed by hand
    whose = f"the library's executor `{executor.name}`" if own is None else "the task"
    raise CallFailed(f"the prompt of {whose} is wrong: {reason}")


class _Unknown(Exception):
    def __init__(self, placeholder: Placeholder) -> None:
        self.placeholder = placeholder


@lru_cache(maxsize=1024)
def _parsed(template: str) -> tuple[str | Placeholder, ...]:
    return parse_template(template)


def _filled(template: str, values: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    pieces: list[Piece] = []
    for part in _parsed(template):
        if isinstance(part, str):
            pieces.append(part)
            continue
        pieces += _placed(part, _value(part, values))
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return list(_parts(pieces))


def _value(placeholder: Placeholder, values: Mapping[str, Any]) -> Any:
    if placeholder.name not in values:
        raise _Unknown(placeholder)
    value = values[placeholder.name]
    for field in placeholder.path[1:]:
        if value is None:
            return None
        if not isinstance(value, dict) or field not in value:
            raise _Unknown(placeholder)
        value = value[field]
    return value


def _placed(placeholder: Placeholder, value: Any) -> Iterator[Piece]:
    name = str(placeholder)[1:-1]
    try:
        for piece in _inserted(value):
            yield _sendable(piece) if isinstance(piece, str) else piece
    except CallFailed as error:
        raise CallFailed(f"`{name}`: {error.message}", help=error.help) from error


def _inserted(value: Any) -> Iterable[Piece]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and any(isinstance(item, Media) for item in value):
        return map(media_part, filter(None, value))  # [Image?] may hold absent ones
    return _written(value)


def _written(value: Any) -> Iterator[Piece]:
    """Write a value as compact JSON, in the order of its fields, its media in their places."""
    if isinstance(value, Media):
        yield media_part(value)
    elif isinstance(value, list) and _holds_media(value):
        yield from _separated("[", (_written(item) for item in value), "]")
    elif isinstance(value, dict) and _holds_media(value):
        shown = scene_shown(value) if is_scene(value) else value
        fields = (_field(name, item) for name, item in shown.items())
        yield from _separated("{", fields, "}")
    else:
        yield _json(value)


def _separated(opening: str, items: Iterable[Iterable[Piece]], closing: str) -> Iterator[Piece]:
    before = opening
    for item in items:
        yield before
        yield from item
        before = ","
    yield closing


def _field(name: str, value: Any) -> Iterator[Piece]:
    yield f"{_json(name)}:"
    yield from _written(value)


def _holds_media(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_media, value.values()))
    return isinstance(value, Media) or (isinstance(value, list) and any(map(_holds_media, value)))


def _json(value: Any) -> str:
    try:
        return _ENCODE(value)
    except (TypeError, ValueError):
        raise CallFailed(
            f"a Python `{type(value).__name__}` cannot be written into a prompt"
        ) from None


def _plain(value: Any) -> Any:
    """Return an array (an Embedding may be one) as a list."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError


_ENCODE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode


def _parts(pieces: Iterable[Piece]) -> Iterator[dict[str, Any]]:
    """Merge neighbouring text; white space alone is left out, which some servers refuse."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        yield from _text_part(text)
        text = ""
        yield piece
    yield from _text_part(text)


def _text_part(text: str) -> Iterator[dict[str, Any]]:
    if text.strip():
        yield {"type": "text", "text": text}


def _sendable(text: str) -> str:
    """Refuse text that UTF-8, and so a request, cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise CallFailed(f"the text holds `{half}`, half a character, on its own") from None
    return text
