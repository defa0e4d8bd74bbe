"""Several tasks asked in one prompt: what all of them read once, then each in a tag of its name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from ...ir.ops import Op, Value
from ...ir.template import Placeholder, parse_template
from ...ir.workflow import Task
from ...targets.sizes import CHARACTERS_PER_TOKEN
from .layout import BLOCK_TOKENS, Order
from .sections import Section, Sections, sections_of

# Tags, because authors' prompts may have headings of their own; no word of it says where in the
# prompt something stands, so that sections may still change places.
INTRODUCTION = (
    "There are several tasks, each in a tag of its name. Do each of them by itself, as if it were "
    "the only one, and give what it asks for in the field of that name."
)


@dataclass(frozen=True, slots=True)
class Together:
    """Prompts taken apart: the sections that several of them have, and what is left of each.

    `own` is by field of the result, in the order in which the fields are asked for.
    """

    shared: Order
    own: Mapping[str, Order]

    def written(self) -> str:
        """Return one prompt that asks for all of it."""
        parts = [Sections(self.shared).written(self.shared), INTRODUCTION]
        parts += (
            f"<{field}>\n{Sections(order).written(order)}\n</{field}>"
            for field, order in self.own.items()
        )
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What several calls read: the values, each once, and the parameters that stand for them.

    `names` are, call by call, what each parameter of its task is called now.
    """

    operands: tuple[Value, ...]
    params: tuple[Value, ...]
    names: tuple[Mapping[str, str], ...]


def taken_apart(prompts: Mapping[str, str]) -> Together:
    """Return the sections of prompts, by field, that are written over the same parameters.

    Data that all of them hold in the same words is shared; so are instructions that all of them
    have, if all begin with them or they are as long as a block of a server's cache (few-shot
    examples are): shorter ones stay where they were said.
    """
    orders = {field: sections_of(text).sections for field, text in prompts.items()}
    shared = set(_in_all(orders))
    first = {section.text: section for order in orders.values() for section in order}
    own = {
        field: tuple(section for section in order if section.text not in shared)
        for field, order in orders.items()
    }
    return Together(tuple(first[text] for text in first if text in shared), own)


def _in_all(orders: Mapping[str, Order]) -> Iterator[str]:
    data = [{section.text for section in order if section.data} for order in orders.values()]
    yield from set.intersection(*data)
    said = [[section.text for section in order if not section.data] for order in orders.values()]
    for texts in zip(*said, strict=False):
        if len(set(texts)) > 1:
            break
        yield texts[0]
    for text in set(said[0]).intersection(*said[1:]):
        if len(text) >= BLOCK_TOKENS * CHARACTERS_PER_TOKEN:
            yield text


def parameters_of(calls: Sequence[tuple[Op, Task]]) -> Parameters:
    """Return the parameters of a task that asks what all these calls ask.

    They are called what the first reader of a value calls it, where that is free.
    """
    values: dict[str, Value] = {}
    params: dict[str, Value] = {}
    taken: set[str] = set()
    names: list[dict[str, str]] = []
    for op, task in calls:
        own: dict[str, str] = {}
        for param, value in zip(task.params, op.operands, strict=True):
            if value.name not in params:
                name = free_name(param.name, taken)
                taken.add(name)
                values[value.name], params[value.name] = value, Value(name, param.type)
            own[param.name] = params[value.name].name
        names.append(own)
    return Parameters(tuple(values.values()), tuple(params.values()), tuple(names))


def free_name(base: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: the base, or `base_2`, `base_3`, …."""
    numbered = (f"{base}_{number}" for number in count(2))
    return next(name for name in chain((base,), numbered) if name not in taken)


def data_of(prompt: str) -> tuple[Section, ...]:
    """Return the sections of a prompt that are data: one parameter each, with its label."""
    return tuple(section for section in sections_of(prompt).sections if section.data)


def renamed(template: str, names: Mapping[str, str]) -> str:
    """Return a template with other names of its parameters."""
    return "".join(_renamed(template, names))


def _renamed(template: str, names: Mapping[str, str]) -> Iterator[str]:
    at = 0
    placeholders: Sequence[Placeholder] = [
        part for part in parse_template(template) if isinstance(part, Placeholder)
    ]
    for placeholder in placeholders:
        yield template[at : placeholder.start]
        yield "{" + ".".join((names[placeholder.name], *placeholder.path[1:])) + "}"
        at = placeholder.end
    yield template[at:]
