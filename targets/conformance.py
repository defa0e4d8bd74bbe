"""The published JSON Schemas, and whether a document follows one for certain.

Importing jsonschema takes longer than everything else that reads a plan does. It is left the
documents that are not certain to: to judge them, and to say what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_Schema = Mapping[str, Any]
# a rule: what it says, the value, the schema it stands in, and the whole schema (for `$ref`)
_Rule = Callable[[Any, Any, _Schema, _Schema], bool]


@cache
def load_schema(name: str) -> Mapping[str, Any]:
    """Return a published JSON Schema by its file name without `.json`."""
    text = (Path(__file__).parent / "schemas" / f"{name}.json").read_text("utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def surely_conforms(value: Any, schema: _Schema) -> bool:
    """Tell whether a value, as read from JSON or TOML, is certain to follow a schema.

    False means that jsonschema has to be asked: either the value does not, or the schema (draft
    2020-12) has a rule, or the value a form (`1.0` for an integer), that is not known here. Nested
    as deep as Python's stack the value is a `RecursionError`, as it is to jsonschema.
    """
    return _conforms(value, schema, schema)


def violation(value: Any, schema: _Schema) -> str | None:
    """Return what is most wrong with a value by a schema, and where: `steps/0/calls: …`, or None.

    RecursionError where the value is nested too deeply.
    """
    if surely_conforms(value, schema):
        return None
    import jsonschema  # 45 ms, for documents that are wrong

    validator = jsonschema.Draft202012Validator(schema)
    worst = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if worst is None:
        return None
    where = "/".join(map(str, worst.absolute_path)) or "the document"
    return f"{where}: {worst.message[:300]}"


def _conforms(value: Any, schema: Any, root: _Schema) -> bool:
    if not isinstance(schema, Mapping):
        return schema is True
    for name, said in schema.items():
        rule = _RULES.get(name)
        if rule is None or not rule(said, value, schema, root):
            return False
    return True


def _type(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    names = (said,) if isinstance(said, str) else said
    return any(type(value) in _TYPES.get(name, ()) for name in names)


def _enum(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    return isinstance(value, str) and value in said  # of other kinds, Python calls 1 and True equal


def _const(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    return isinstance(value, str) and value == said


def _any_of(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    return any(_conforms(value, each, root) for each in said)


def _ref(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    name = str(said).removeprefix("#/$defs/")
    return _conforms(value, root.get("$defs", {}).get(name, False), root)


def _if(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    """Follow the branch that holds; a condition must be one that is decided here for certain."""
    chosen = "then" if _conforms(value, said, root) else "else"
    return _conforms(value, schema.get(chosen, True), root)


def _properties(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    if not isinstance(value, dict):
        return True
    return all(_conforms(value[name], said[name], root) for name in said if name in value)


def _additional(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", ())
    return all(_conforms(value[name], said, root) for name in value if name not in known)


def _items(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    if not isinstance(value, list):
        return True
    rest = value[len(schema.get("prefixItems", ())) :]
    return all(_conforms(item, said, root) for item in rest)


def _prefix_items(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    if not isinstance(value, list):
        return True
    return all(_conforms(item, each, root) for item, each in zip(value, said, strict=False))


def _of_numbers(holds: Callable[[Any, Any], bool]) -> _Rule:
    return lambda said, value, schema, root: type(value) not in (int, float) or holds(value, said)


def _of(kind: type, holds: Callable[[Any, Any], bool]) -> _Rule:
    return lambda said, value, schema, root: not isinstance(value, kind) or holds(value, said)


def _annotation(said: Any, value: Any, schema: _Schema, root: _Schema) -> bool:
    return True


_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(
        ("$schema", "$id", "$defs", "title", "description", "then", "else"), _annotation
    ),
    "$ref": _ref,
    "additionalProperties": _additional,
    "anyOf": _any_of,
    "const": _const,
    "enum": _enum,
    "exclusiveMinimum": _of_numbers(lambda value, said: value > said),
    "if": _if,
    "items": _items,
    "maxItems": _of(list, lambda value, said: len(value) <= said),
    "maxLength": _of(str, lambda value, said: len(value) <= said),
    "maximum": _of_numbers(lambda value, said: value <= said),
    "minItems": _of(list, lambda value, said: len(value) >= said),
    "minLength": _of(str, lambda value, said: len(value) >= said),
    "minimum": _of_numbers(lambda value, said: value >= said),
    "pattern": _of(str, lambda value, said: re.search(said, value) is not None),
    "prefixItems": _prefix_items,
    "properties": _properties,
    "required": _of(dict, lambda value, said: all(name in value for name in said)),
    "type": _type,
}
