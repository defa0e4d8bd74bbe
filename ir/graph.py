"""Computed networkx views of a workflow: data flow, order, critical path."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from .ops import Op, Region
from .workflow import Workflow


def dataflow(workflow: Workflow) -> nx.DiGraph[str]:
    """Return the graph over value names; nodes carry their `op`, None for parameters.

    Edges run from operands to results. A value used inside a region has an edge to the region's
    arguments' owner as well: an operation waits for everything its regions capture.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    for value in workflow.params:
        graph.add_node(value.name, op=None)
    _add(graph, workflow.body, ())
    return graph


def _add(graph: nx.DiGraph[str], region: Region, owners: tuple[str, ...]) -> None:
    for op in region.ops:
        name = op.result.name if op.result is not None else None
        if name is not None:
            graph.add_node(name, op=op)
        for operand in op.operands:
            for target in (*((name,) if name else ()), *(owners[-1:] if name is None else ())):
                graph.add_edge(operand.name, target)
        for nested in op.regions:
            for argument in nested.args:
                graph.add_node(argument.name, op=None)
                graph.add_edges_from((operand.name, argument.name) for operand in op.operands)
            _add(graph, nested, (*owners, name) if name else owners)


def captures(region: Region) -> Iterator[str]:
    """Yield the names of values a region uses from outside, each once, in order of first use."""
    defined = {value.name for value in region.args}
    seen: set[str] = set()
    for op in _walk(region):
        defined |= {value.name for nested in op.regions for value in nested.args}
        for operand in op.operands:
            if operand.name not in defined and operand.name not in seen:
                seen.add(operand.name)
                yield operand.name
        if op.result is not None:
            defined.add(op.result.name)


def _walk(region: Region) -> Iterator[Op]:
    for op in region.ops:
        yield from op.walk()
