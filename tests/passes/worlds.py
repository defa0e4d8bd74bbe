"""Worlds that pass tests compile in: described clusters, the shipped library, small libraries."""

from __future__ import annotations

from pathlib import Path

from murakkab.compiler.driver import Request, environment
from murakkab.compiler.frontend import check_text, select
from murakkab.ir.workflow import Module
from murakkab.passes.base import Context

ROOT = Path(__file__).parents[2]
A100 = ROOT / "examples/clusters/two-a100-nodes.toml"
LAPTOP = ROOT / "examples/clusters/laptop-cpu.toml"


def world(cluster: Path = LAPTOP, *libraries: Path) -> Context:
    """Return the context of target `sim` on a described cluster."""
    request = Request(source="", target="sim", cluster=cluster, libraries=libraries)
    return environment(request)[1]


def flow(text: str) -> Module:
    """Return the flow IR of a program's only workflow; the standard library is imported."""
    imports = "".join(f'import "std/{name}"\n' for name in ("media", "text", "code", "net"))
    return select(check_text(imports + text))


LIBRARY_HEAD = """
[[executor]]
name = "{name}"
implements = "{interface}"
description = "a test executor"
runner = "python"
entry = "answer"
devices = ["cpu"]
quality = {{ value = {quality}, metric = "relative", source = "declared for a test" }}
"""


def executor_toml(name: str, interface: str, quality: float, extra: str = "") -> str:
    """Return the text of one library entry."""
    return LIBRARY_HEAD.format(name=name, interface=interface, quality=quality) + extra
