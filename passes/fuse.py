"""Fuse: `for`s over the same list become one, so do prompts; tools a chain; prompts laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.remarks import Reporter
from ..ir.workflow import Module
from ..targets.library import Library
from .base import Context, Pass
from .chains import mark_chains
from .mapfusion import fuse_maps
from .prefixfusion import QUALITY as PREFIX_QUALITY
from .prefixfusion import fuse_prefixes, said
from .promptfusion import QUALITY as PROMPT_QUALITY
from .promptfusion import asked, fuse_prompts
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

    **prompts** (logical level; off unless asked for, as it is not exact: `prompt_quality` is what
    each answer is worth then, relative, where the library does not say): calls of one region whose
    prompts read the same values, in the same words, become one call. Its prompt has what they read
    once, and each task in a tag of its name; its result is a record with a field for each.
    Constants, such as a question, may differ. `choose` proposes the same where the requirement
    leaves room. Refused:

    * effects, sampled calls, and calls whose models are asked how sure they are;
    * answers that are one of few (unless `enumerations`): with small models, asking for labels one
      at a time was as good or better (Langner et al., "Divide, Cache, Conquer", 2025);
    * other candidates, pins or system texts; calls of which some may be left out, some may not;
    * what not only language models may carry out; limits of one answer's length;
    * inputs in other words, or in the midst of sentences; words that say where something stands;
    * a prompt that asks for nothing that the others do not.

    **prefix** (logical level; off unless asked for, as it is not exact: `prefix_quality` is what
    accuracy is multiplied by for each call): the sections of an author's prompt change places so
    that what calls share comes first, and a server's cache of prompts holds it. Prompts that `bind`
    wrote are laid out already. Refused:

    * what saves each call less than a block of the cache;
    * words that say where in the prompt something stands (`the text above`);
    * instructions in another order; parts of a sentence, a list, a tag or a fence;
    * effects; tasks that no language model is asked.

    Neither of the two is done to a workflow of which whole configurations were measured.
    """

    name: ClassVar[str] = "fuse"
    maps: bool = True
    tools: bool = True
    prompts: bool = False
    enumerations: bool = False
    prompt_quality: float = PROMPT_QUALITY
    prefix: bool = False
    prefix_quality: float = PREFIX_QUALITY

    def __post_init__(self) -> None:
        """Refuse a quality that is none."""
        for name in ("prompt_quality", "prefix_quality"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"`{name}` is above 0 and at most 1")

    def run(self, module: Module, context: Context) -> Module:
        """Return the module with its maps fused, its chains marked, and what else is asked for."""
        if module.level == "placed":
            return module  # the plan accounts for every step
        report = context.reporter(self)
        if self.maps:
            module = fuse_maps(module, report)
        if self._may("prompts", module, context, report):
            together = self._prompts(module, context.library, report)
            module = with_notes(together, asked(module, together))
        if self.tools and module.level == "logical":
            module = mark_chains(module, context.library, report)
        if self._may("prefix", module, context, report):
            laid_out = fuse_prefixes(module, context.library, self.prefix_quality, report)
            module = with_notes(laid_out, said(module, laid_out))
        return module

    def _may(self, rewrite: str, module: Module, context: Context, report: Reporter) -> bool:
        """Tell whether a rewrite that is not exact is asked for, and its cost can be told."""
        if module.level != "logical" or not getattr(self, rewrite):
            return False
        if context.measured.of(module.sole().name):
            guard = "whole configurations were measured: how it changes their accuracy is not known"
            report.refused(rewrite, guard)
            return False
        return True

    def _prompts(self, module: Module, library: Library, report: Reporter) -> Module:
        return fuse_prompts(
            module, library, self.prompt_quality, report, enumerations=self.enumerations
        )
