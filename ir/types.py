"""Structural types of values, with assignability and join (docs/language.md, Types)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BASE_TYPES = (
    *("Text", "Int", "Float", "Bool", "Image", "Audio", "Video", "File"),
    *("Json", "Embedding", "Index"),
)
MEDIA_TYPES = ("Image", "Audio", "Video", "File")


@dataclass(frozen=True, slots=True)
class Base:
    """A type with no parts; `Never` is the bottom type, the element type of `[]` and `none`."""

    name: str

    def __str__(self) -> str:
        """Return the source form."""
        return self.name


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[item]`."""

    item: Type

    def __str__(self) -> str:
        """Return the source form."""
        return f"[{self.item}]"


@dataclass(frozen=True, slots=True)
class Record:
    """`{name: type, …}`; field order is kept for printing and ignored by equality of types."""

    fields: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        """Return the source form."""
        return "{" + ", ".join(f"{name}: {kind}" for name, kind in self.fields) + "}"

    def field(self, name: str) -> Type | None:
        """Return the type of a field, or None where there is no such field."""
        return dict(self.fields).get(name)


@dataclass(frozen=True, slots=True)
class Option:
    """`item?`: a value or `none`. Build with `option()`, which keeps `T??` equal to `T?`."""

    item: Type

    def __str__(self) -> str:
        """Return the source form."""
        text = str(self.item)
        return (
            f"({text})?"
            if isinstance(self.item, Enum) and len(self.item.values) > 1
            else text + "?"
        )


@dataclass(frozen=True, slots=True)
class Enum:
    """`"a" | "b"`: a set of strings, a subtype of Text; values are kept sorted."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        """Return the source form."""
        return " | ".join(quote(v) for v in self.values)


Type = Base | ListOf | Record | Option | Enum

TEXT, INT, FLOAT, BOOL = Base("Text"), Base("Int"), Base("Float"), Base("Bool")
JSON, NEVER = Base("Json"), Base("Never")


def quote(text: str) -> str:
    r"""Return a string literal with the language's escapes (\\ \" \n \t)."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def option(item: Type) -> Option:
    """Return `item?`, flattening `T??` to `T?`."""
    return item if isinstance(item, Option) else Option(item)


def enum(values: tuple[str, ...]) -> Enum:
    """Return the enumeration of these strings, sorted and without repeats."""
    return Enum(tuple(sorted(set(values))))


def assignable(source: Type, target: Type) -> bool:
    """Tell whether a value of type `source` may stand where `target` is wanted.

    The conversions are `Int` to `Float`, `T` to `T?`, an enumeration to a wider one or to `Text`,
    inside lists and records too; records have no width subtyping.
    """
    if source == target or source == NEVER:
        return True
    match source, target:
        case Option(a), Option(b):
            return assignable(a, b)
        case _, Option(b):
            return assignable(source, b)
        case Base("Int"), Base("Float"):
            return True
        case Enum(a_values), Enum(b_values):
            return set(a_values) <= set(b_values)
        case Enum(), Base("Text"):
            return True
        case ListOf(a), ListOf(b):
            return assignable(a, b)
        case Record(a_fields), Record(b_fields):
            wanted = dict(b_fields)
            return len(a_fields) == len(wanted) and all(
                name in wanted and assignable(kind, wanted[name]) for name, kind in a_fields
            )
    return False


def join(a: Type, b: Type) -> Type | None:
    """Return the least type both convert to, or None where there is none."""
    if assignable(a, b):
        return b
    if assignable(b, a):
        return a
    match a, b:
        case (Option(x), Option(y)) | (Option(x), y) | (x, Option(y)):
            inner = join(x, y)
            return None if inner is None else option(inner)
        case Enum(x_values), Enum(y_values):
            return enum(x_values + y_values)
        case ListOf(x), ListOf(y):
            inner = join(x, y)
            return None if inner is None else ListOf(inner)
        case Record(x_fields), Record(y_fields):
            return _join_records(x_fields, dict(y_fields))
    return None


def join_all(kinds: Sequence[Type]) -> Type | None:
    """Return the least type that all convert to (`Never` for none), or None where there is none.

    By halves: one after the other, enumerations of few values each would make ever larger ones.
    """
    if len(kinds) < 2:
        return kinds[0] if kinds else NEVER
    middle = len(kinds) // 2
    low, high = join_all(kinds[:middle]), join_all(kinds[middle:])
    return None if low is None or high is None else join(low, high)


def _join_records(a: tuple[tuple[str, Type], ...], b: dict[str, Type]) -> Type | None:
    if {name for name, _ in a} != set(b):
        return None
    fields = [(name, join(kind, b[name])) for name, kind in a]
    if any(kind is None for _, kind in fields):
        return None
    return Record(tuple((name, kind) for name, kind in fields if kind is not None))


def contains_media(kind: Type) -> bool:
    """Tell whether values of this type hold an image, audio, video or file."""
    match kind:
        case Base(name):
            return name in MEDIA_TYPES
        case ListOf(item) | Option(item):
            return contains_media(item)
        case Record(fields):
            return any(contains_media(t) for _, t in fields)
    return False
