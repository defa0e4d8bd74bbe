"""The order of a prompt's sections: what calls share first, so that a server reads it once."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from .sections import Section
from .sharing import Site, computed_tokens

# vLLM keeps what it has read in blocks of 16 tokens, of which only whole ones are found again
# (its documentation, "Automatic Prefix Caching"): a prompt that shares less than one more stays.
BLOCK_TOKENS = 16.0
_SWEEPS = 2  # in which every task may follow what the others have become

Order = tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """An order of a task's sections, and how many of them are not where they were."""

    order: Order
    moved: int


def laid_out(
    sites: Sequence[Site], given: Mapping[str, Order], free: Collection[str]
) -> dict[str, Order]:
    """Return the orders that let calls share most, of those tasks that are better off for it.

    `given` are the sections of the prompts of all tasks that `sites` call; those in `free` may be
    put into another order. Sections that take fewer values in a run come before those that take
    more, and, where that saves more, those that other tasks' prompts hold too before all others.
    Instructions keep their order among themselves, unless other tasks have the very same. A section
    moves only if that saves each call a block.
    """
    ranks = _ranks(sites, given)
    choices: dict[str, list[Choice]] = {}
    for name in sorted(free):
        own = [site for site in sites if site.task.name == name]
        if own:
            choices[name] = list(_choices(given[name], own, ranks))
    shared = {name: found[-1] for name, found in choices.items()}
    stay = {name: found[0] for name, found in choices.items()}
    costs = _Costs(sites, given)
    best = min((_descended(costs, start, choices) for start in (stay, shared)), key=costs)
    return {name: choice.order for name, choice in best.items() if choice.moved}


class _Costs:
    """Tokens that a run computes under some choices, and a block a call for what they move."""

    def __init__(self, sites: Sequence[Site], given: Mapping[str, Order]) -> None:
        self._sites = sites
        self._given = given
        self._calls = {name: 0.0 for name in given}
        for site in sites:
            self._calls[site.task.name] += site.calls

    def __call__(self, chosen: Mapping[str, Choice]) -> float:
        orders = {**self._given, **{name: choice.order for name, choice in chosen.items()}}
        moved = sum(self._calls[name] * choice.moved for name, choice in chosen.items())
        return computed_tokens(self._sites, orders) + BLOCK_TOKENS * moved


def _descended(
    costs: _Costs, start: Mapping[str, Choice], choices: Mapping[str, Sequence[Choice]]
) -> dict[str, Choice]:
    """Let each task in turn take its best order, the others being what they are."""
    chosen = dict(start)
    for _ in range(_SWEEPS):
        for name, found in choices.items():
            priced = [costs({**chosen, name: choice}) for choice in found]
            chosen[name] = found[priced.index(min(priced))]
    return chosen


# ---- orders worth considering


def _ranks(sites: Sequence[Site], given: Mapping[str, Order]) -> dict[Hashable, int]:
    """Number the sections that prompts of several tasks hold, alike wherever they stand."""
    tasks: dict[Hashable, set[str]] = {}
    for site in sites:
        for section in given[site.task.name]:
            tasks.setdefault(_place(site, section), set()).add(site.task.name)
    numbers = count()
    return {place: next(numbers) for place, names in tasks.items() if len(names) > 1}


def _place(site: Site, section: Section) -> Hashable:
    return (site.server, site.key(section))


def _choices(
    sections: Order, own: Sequence[Site], ranks: Mapping[Hashable, int]
) -> Iterator[Choice]:
    """Yield the order as it is, the ones that suit the task by itself, and one for all tasks."""
    indices = range(len(sections))
    distinct = [_distinct(section, own) for section in sections]
    shared = [
        min((ranks[p] for site in own if (p := _place(site, section)) in ranks), default=None)
        for section in sections
    ]
    data = [i for i in indices if sections[i].data]
    last = data[-1] if data else -1
    varies = list(_in_turn(sections, distinct, shared))

    def together(i: int) -> tuple[bool, float, int]:
        rank = shared[i]
        return (True, distinct[i], i) if rank is None else (False, distinct[i], rank)

    orders = (
        indices,
        sorted(indices, key=lambda i: (i > last, varies[i], i)),  # closing words stay last
        sorted(indices, key=lambda i: (varies[i], i)),
        sorted(indices, key=together),
    )
    for order in orders:
        kept = [i for i in order if not sections[i].data and shared[i] is None]
        if kept == sorted(kept):
            yield Choice(tuple(sections[i] for i in order), _moved(order))


def _in_turn(
    sections: Order, distinct: Sequence[float], shared: Sequence[int | None]
) -> Iterator[float]:
    """Yield how much each section varies; an instruction no less than those that come before it.

    Those that other tasks have too may come in another order.
    """
    before = 0.0
    for section, own, rank in zip(sections, distinct, shared, strict=True):
        if section.data or rank is not None:
            yield own
            continue
        before = max(before, own)
        yield before


def _moved(order: Sequence[int]) -> int:
    """Return how few of the sections may be taken to have moved: all but a longest rising run."""
    longest: list[int] = []
    for place, index in enumerate(order):
        before = (longest[k] for k in range(place) if order[k] < index)
        longest.append(1 + max(before, default=0))
    return len(order) - max(longest, default=0)


def _distinct(section: Section, own: Sequence[Site]) -> float:
    """Return how many texts a section becomes in all calls of its task."""
    found: dict[Hashable, float] = {}
    for site in own:
        found[site.key(section)] = site.distinct(section)
    return sum(found.values())
