"""Structured results: the JSON schema that a model's answer is decoded under, and the way back.

An answer is untrusted text: whatever it holds, `read_answer` returns a value of the wanted type or
raises `ValueProblem`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...ir.types import JSON, NEVER, TEXT, Base, Enum, ListOf, Option, Record, Type
from ...ir.workflow import Task
from ..evaluate import INT_LIMIT
from ..values import ValueProblem, check_value, describe

# The root of a schema must be an object (OpenAI, Structured Outputs, "Supported schemas").
ROOT = "result"
_NAME = "answer"
_MAX_DEPTH = 100  # nobody asks for more, and what reads values further on is recursive
_REPEATED = 2_000  # characters of a wrong answer that the model is shown again
_TOLD = 1_000  # characters of what is wrong with it
# The largest double below 2^63. xgrammar holds the full range of 64 bits exactly, but llguidance
# (1.7) fails on it, and llama.cpp takes its ends for the absence of bounds.
_INT_BOUND = INT_LIMIT - 1024
_SCALARS: Mapping[str, Mapping[str, Any]] = {
    "Text": {"type": "string"},
    # Without bounds a decoder may go on writing digits.
    "Int": {"type": "integer", "minimum": -_INT_BOUND, "maximum": _INT_BOUND},
    "Float": {"type": "number"},
    "Bool": {"type": "boolean"},
    "Json": {},
}
_FENCE = "```"
_FRAME_TOKENS = 32  # more than a field's name and what separates it from others take in JSON
# Qwen3 writes its reasoning (empty when that is switched off by `/no_think`) before the answer,
# where the server has no reasoning parser to take it out.
_REASONING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def unsupported_result(kind: Type) -> str | None:
    """Return why a language model's answer cannot be a value of a type, or None where it can."""
    match kind:
        case Base(name) if name not in _SCALARS:
            what = "no value" if kind == NEVER else f"`{name}`"
            return f"a language model answers in text, which cannot be read as {what}"
        case ListOf(item) | Option(item):
            return unsupported_result(item)
        case Record(fields):
            found = (unsupported_result(item) for _, item in fields)
            return next((reason for reason in found if reason is not None), None)
    return None


def longest(limit: Any, task: Task) -> Any:
    """Return a library's limit of an answer's tokens for a task that may ask for several."""
    return limit if not task.answers else len(task.answers) * (limit + _FRAME_TOKENS)


@lru_cache(maxsize=256)
def response_format(kind: Type) -> dict[str, Any] | None:
    """Return the `response_format` of a chat request, None for Text, whose answers are free.

    What is no record is wrapped, `{"result": …}`; an optional Text is too, as only so can a model
    tell that there is none. A schema with a `Json` in it is not `strict`: OpenAI's strict mode
    knows no value of any form. The result is shared: do not change it. Raises ValueError where
    `unsupported_result` gives a reason.
    """
    reason = unsupported_result(kind)
    if reason is not None:
        raise ValueError(reason)
    if kind == TEXT:
        return None
    root = kind if isinstance(kind, Record) else Record(((ROOT, kind),))
    form = {"name": _NAME, "strict": not _holds_json(kind), "schema": _schema(root)}
    return {"type": "json_schema", "json_schema": form}


def _schema(kind: Type) -> dict[str, Any]:
    match kind:
        case Base(name):
            return dict(_SCALARS[name])
        case Enum(values):
            return {"type": "string", "enum": list(values)}
        case Option(item):
            # any Json may be null already
            return {} if item == JSON else {"anyOf": [_schema(item), {"type": "null"}]}
        case ListOf(item):
            return {"type": "array", "items": _schema(item)}
    return {
        "type": "object",
        "properties": {name: _schema(item) for name, item in kind.fields},
        "required": [name for name, _ in kind.fields],
        "additionalProperties": False,
    }


def _holds_json(kind: Type) -> bool:
    match kind:
        case ListOf(item) | Option(item):
            return _holds_json(item)
        case Record(fields):
            return any(_holds_json(item) for _, item in fields)
    return kind == JSON


# ---- reading


def read_answer(kind: Type, text: str) -> Any:
    """Return the value that an answer stands for; raises `ValueProblem`, whatever the text.

    A leading `<think>` block and white space at both ends are dropped, for Text too. For the
    benefit of servers that take no notice of schemas, a Markdown code fence around the whole is
    dropped, a value may stand without its `{"result": …}`, an enumeration's without quotes, and a
    record's optional fields may be left out. A number without a fraction is an Int.
    """
    answer = _spoken(text)
    if kind == TEXT:
        return _characters(answer)
    answer = _unfenced(answer)
    try:
        value = _fitted(kind, _unwrapped(kind, _document(kind, answer)))
        problem = check_value(kind, value)
        if problem is None:
            return value
    except ValueProblem as error:
        problem = str(error)
    bare = kind.item if isinstance(kind, Option) else kind
    if isinstance(bare, Enum) and answer in bare.values:
        return answer
    raise ValueProblem(_cut(problem, _TOLD))


def read_item(kind: Type, text: str) -> Any:
    """Return the value that one item of a list in an answer stands for; raises `ValueProblem`."""
    value = _fitted(kind, _document(kind, text))
    problem = check_value(kind, value)
    if problem is not None:
        raise ValueProblem(problem)
    return value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _unfenced(answer: str) -> str:
    """Take a Markdown code fence off, and the name of the language after its beginning."""
    first, _, rest = answer.partition("\n")
    if not rest.endswith(_FENCE) or not first.startswith(_FENCE) or "`" in first[len(_FENCE) :]:
        return answer
    return rest.removesuffix(_FENCE).strip()


def _spoken(text: str) -> str:
    return _REASONING.sub("", text, count=1).strip()


def _characters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueProblem(f"the answer holds `{half}`, half a character, on its own") from None
    return text


def _document(kind: Type, answer: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no key twice; nothing that later steps choke on."""
    if not answer:
        raise ValueProblem(f"expected {kind} as JSON, got an empty answer")
    if _depth(answer) > _MAX_DEPTH:
        raise ValueProblem(f"the JSON is nested more than {_MAX_DEPTH} levels deep")
    _characters(answer)
    try:
        document = json.loads(answer, parse_constant=_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueProblem(
            f"expected {kind} as JSON, got text that is not JSON: "
            f"{error.msg[:1].lower()}{error.msg[1:]} at {where}"
        ) from None
    except ValueProblem:
        raise
    except ValueError:
        # the only other one: Python reads no integers of more than 4300 digits
        raise ValueProblem("the JSON holds an integer of thousands of digits") from None
    if "\\u" in answer:
        _characters(json.dumps(document, ensure_ascii=False))
    return document


def _depth(text: str) -> int:
    """Return how deeply JSON is nested; brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return 0  # the usual case: not worth a closer look
    depth = deepest = 0
    for token in _BRACKET_OR_STRING.findall(text):
        depth += (token in "[{") - (token in "]}")
        deepest = max(deepest, depth)
    return deepest


_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _constant(name: str) -> Any:
    raise ValueProblem(f"expected JSON, which has no `{name}`")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueProblem(f"the JSON has the key {describe(name)} twice in one object")
        found[name] = value
    return found


def _unwrapped(kind: Type, document: Any) -> Any:
    wraps = not isinstance(kind, Record)
    if wraps and isinstance(document, dict) and document.keys() == {ROOT}:
        return document[ROOT]
    return document


def _fitted(kind: Type, document: Any) -> Any:
    """Return a document with numbers as their type has them, and absent optional fields as none."""
    match kind, document:
        case Option(item), _:
            return None if document is None else _fitted(item, document)
        case Base("Int"), float() if document.is_integer() and abs(document) < 2**53:
            return int(document)  # JSON Schema: 1.0 is an integer
        case Base("Float"), int() if not isinstance(document, bool) and _large(document):
            return float(document)
        case ListOf(item), list():
            return [_fitted(item, element) for element in document]
        case Record(fields), dict() if _may_be(fields, document):
            return {name: _fitted(item, document.get(name)) for name, item in fields}
    return document


def _may_be(fields: Sequence[tuple[str, Type]], document: Mapping[str, Any]) -> bool:
    """Tell whether an object has a record's fields, up to absent ones that are optional."""
    differing = {name for name, _ in fields} ^ document.keys()
    return differing <= {name for name, item in fields if isinstance(item, Option)}


def _large(number: int) -> bool:
    """Tell whether an integer is beyond Int's range, but not beyond that of a float."""
    return INT_LIMIT <= abs(number) and number.bit_length() < 1024


# ---- asking again


def repair_messages(
    messages: Sequence[dict[str, Any]], answer: str, problem: str
) -> list[dict[str, Any]]:
    """Return the conversation that asks once more, after an answer that `read_answer` refused.

    The model sees the answer, cut to a sane length, and what is wrong with it.
    """
    shown = _sendable(_cut(_spoken(answer), _REPEATED))
    request = (
        f"This answer cannot be used: {problem}. "
        "Give the whole answer again with this put right, as JSON and without any other text."
    )
    return [
        *messages,
        # some servers refuse a message without content, and some two of the same role in a row
        {"role": "assistant", "content": shown or "(no answer)"},
        {"role": "user", "content": _sendable(request)},
    ]


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
