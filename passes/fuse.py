"""Fuse: `for`s over the same list become one, tools a chain; what prompts share comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.workflow import Module
from .base import Context, Pass
from .chains import mark_chains
from .mapfusion import fuse_maps
from .prefixfusion import QUALITY as PREFIX_QUALITY
from .prefixfusion import fuse_prefixes, said
from .rewrite import with_notes


@dataclass(frozen=True)
class Fuse(Pass):
    """Make one `for` of several over the same list, and chains of Python tools.

    **maps**: a `for` over the result of another, which nothing else reads, becomes one with it.
    Two that work on the same items and are both read from outside become one that yields a
    record, with a projection for each reader, if both hold calls and it is worth it: the two share
    a call (merged afterwards, so that it is made once), or the same operations read both results
    (no reader waits for what it does not need).

    Refused, because the result or somebody's waiting would change:

    * both hold effects: all of the first come before all of the second;
    * one holds effects and there is another effect between the two;
    * what stands between them needs the first and is needed by the second;
    * the second needs the whole list of the first for each item;
    * the two differ in an attribute, such as `concurrency`;
    * the lists are not the same value, or a `filter` stands between: the items differ;
    * the second needs items of a wider type than the first yields.

    **tools** (from the logical level on): calls a → b in one region, where only b reads what a
    gives and each has a candidate that runs Python, are marked `chain = k`. It is a hint: where
    neighbours of a chain land on engines that share child processes, the runtime makes the second
    call in the process that holds the value of the first. Refused:

    * effects: they run one at a time, each on its own;
    * optional calls: either may be left out;
    * results with several readers: only one of them can come next in that process.

    **prefix** (logical level; off unless asked for, as it is not exact: `prefix_quality` is what
    accuracy is multiplied by for each call): the sections of an author's prompt change places so
    that what calls share comes first, and a server's cache of prompts holds it. Prompts that `bind`
    wrote are laid out already. Refused:

    * what saves each call less than a block of the cache;
    * words that say where in the prompt something stands (`the text above`);
    * instructions in another order; parts of a sentence, a list, a tag or a fence;
    * effects; tasks that no language model is asked.
    """

    name: ClassVar[str] = "fuse"
    maps: bool = True
    tools: bool = True
    prefix: bool = False
    prefix_quality: float = PREFIX_QUALITY

    def __post_init__(self) -> None:
        """Refuse a quality that is none."""
        if not 0.0 < self.prefix_quality <= 1.0:
            raise ValueError("`prefix_quality` is above 0 and at most 1")

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with its maps fused, its chains marked, and what else is asked for."""
        if module.level == "placed":
            return module  # the plan accounts for every step
        report = context.reporter(self)
        if self.maps:
            module = fuse_maps(module, report)
        if self.tools and module.level == "logical":
            module = mark_chains(module, context.library, report)
        if self.prefix and module.level == "logical":
            laid_out = fuse_prefixes(module, context.library, self.prefix_quality, report)
            module = with_notes(laid_out, said(module, laid_out))
        return module
