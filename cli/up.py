"""`mkb up`: start the model servers of a plan and keep them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import common, compile_flags
from .output import Output
from .plans import plan_of, refuse_changed_weights

if TYPE_CHECKING:
    from ..runtime.serving.warm import WarmServer


@click.command
@click.argument("file", metavar="PLAN|FILE.mkb")
@compile_flags
@common
@click.pass_obj
def command(output: Output, /, file: str, **flags: Any) -> None:
    """Start the model servers of a plan and keep them running.

    `mkb run` of any plan that needs the same servers finds them, in the same folder, and starts
    none of its own; `mkb down` ends them. Servers that take turns on the same GPUs are put to sleep
    as soon as they are ready, and wait there with their weights in host memory; on CPUs the later
    ones are left to the runs. Their logs are under `.murakkab/engines`.
    """
    from ..runtime.serving.fleet import Serving
    from ..runtime.serving.upkeep import bring_up
    from ..runtime.serving.warm import FOLDER
    from ..targets.library import load_named
    from .live import shown_engines

    plan = plan_of(file, output, flags, of_plans=("--library",))
    refuse_changed_weights(file, plan, flags["libraries"])
    with shown_engines(output) as on_engine:
        serving = Serving(
            environ=os.environ,
            logs=FOLDER / "logs",
            warm=FOLDER,
            lasting=True,
            on_engine=on_engine,
        )
        library = load_named(plan.executors(), flags["libraries"])
        done = asyncio.run(bring_up(plan, library, serving))
    said = [_line(server) for server in done.servers] or ["the plan has no servers to keep"]
    said += [f"`{name}` is left to the runs: its turn on the CPU comes later" for name in done.left]
    document = {"servers": [row(server) for server in done.servers], "left": list(done.left)}
    output.result("\n".join(said), document)


def _line(server: WarmServer) -> str:
    return f"`{server.engine}` answers at {server.base} (log: {server.log})"


def row(server: WarmServer) -> dict[str, object]:
    """Return what `--json` says of a server that is kept."""
    return {
        "engine": server.engine,
        "executor": server.executor,
        "url": f"{server.base}/v1",
        "model": server.model,
        "log": str(Path(server.log)),
        "pid": server.pid,
    }
