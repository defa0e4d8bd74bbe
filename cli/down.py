"""`mkb down`: end the model servers that are kept."""

from __future__ import annotations

import click

from .options import common
from .output import Output
from .up import row


@click.command
@common
@click.pass_obj
def command(output: Output, /) -> None:
    """End the model servers that `mkb up` keeps in this folder."""
    from ..runtime.serving.warm import FOLDER, end, warm_servers

    servers = warm_servers(FOLDER)
    end(FOLDER, servers)
    left = warm_servers(FOLDER)
    gone = [server for server in servers if server not in left]
    lines = [f"ended `{server.engine}` at {server.base}" for server in gone]
    lines += [f"`{server.engine}` (process {server.pid}) does not end" for server in left]
    document = {"ended": [row(server) for server in gone], "left": [row(s) for s in left]}
    output.result("\n".join(lines) or "no servers are kept here", document)
