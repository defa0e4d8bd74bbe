"""Which calls of a workflow hand their results on early: along chains, and as lists that grow."""

from __future__ import annotations

from ..ir.ops import Attr, Region


def chained(region: Region) -> dict[str, str]:
    """Return, for each call that continues a chain, the call whose result it takes from it."""
    chains: dict[str, Attr] = {}
    before: dict[str, str] = {}
    for op in region.ops:
        chain = op.attr("chain")
        if chain is None:
            continue
        for value in op.operands:
            if chains.get(value.name) == chain:
                before[op.out().name] = value.name
        chains[op.out().name] = chain
    return before


def streamed(body: Region) -> frozenset[str]:
    """Return the values that a map or filter reads as its list, itself or through branches."""
    found: set[str] = set()
    for op in reversed([op for top in body.ops for op in top.walk()]):
        if op.kind in ("map", "filter"):
            found.add(op.operands[0].name)
        elif op.kind == "if" and op.out().name in found:
            found.update(r.terminator.operands[0].name for r in op.regions)
    return frozenset(found)


def listed(body: Region) -> frozenset[str]:
    """Return the values that maps and filters read as their list, and nothing uses otherwise."""
    found: set[str] = set()
    used: set[str] = set()
    for op in [op for top in body.ops for op in top.walk()]:
        names = [value.name for value in op.operands]
        if op.kind in ("map", "filter"):
            found.add(names.pop(0))
        used.update(names)
    return frozenset(found - used)


def streamed_once(region: Region, *, handed_on: bool) -> frozenset[str]:
    """Return the values whose only use is as the list of one map or filter of this region.

    Where the region's own result is `handed_on` item by item, that reads a list as a map does.
    """
    uses: dict[str, int] = {}
    streamed: set[str] = set()
    for op in region.ops:
        for inner in op.walk():
            for value in inner.operands:
                uses[value.name] = uses.get(value.name, 0) + 1
        if op.kind in ("map", "filter"):
            streamed.add(op.operands[0].name)
    if handed_on:
        streamed.add(region.terminator.operands[0].name)
    return frozenset(name for name in streamed if uses[name] == 1)
