"""`mkb new`: a small project that compiles and runs as it is written."""

from __future__ import annotations

from pathlib import Path

import click

from ..ir.diagnostics import Diagnostic, InputError
from .options import common
from .output import Output

_WORKFLOW = """\
import "std/text"

workflow ask(query: Text, documents: [Text]) -> { reply: Text, gists: [Text] }
    "Answer a question from a few documents, and say what each is about."
    minimize energy then cost
    expect len(documents) = 4
    expect documents.tokens = 200
{
    gists = for document in documents {
        gist = summarize(document)
        yield gist
    }
    found = search(query, documents)
    reply = answer(query, found)
    return { reply, gists }
}
"""

_INPUTS = """\
{
  "query": "When does the night train to Prague leave?",
  "documents": [
    "The station opened in 1884. Its clock tower was added in 1902 and restored in 1998.",
    "The night train to Prague leaves at 22:40 from platform 4. Sleeping cars are at the front.",
    "Platform 4 is reached through the tunnel. There is a lift at each end of the tunnel.",
    "The kiosk sells coffee and newspapers. It closes at 21:00 on weekdays and on Sundays."
  ]
}
"""

_CLUSTER = """\
# Hardware to compile for: `mkb targets detect` writes this machine's.
name = "one-a100-node"

[[pool]]
name = "a100"
nodes = 1
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""

_README = """\
# {name}

`ask.mkb` says what is computed and what it must achieve; the compiler decides how.

    mkb check ask.mkb
    mkb run ask.mkb --inputs inputs.json          # on this machine's CPU
    mkb compile ask.mkb                           # what was decided, beside -O0
    mkb compile ask.mkb --cluster cluster.toml    # the same workflow for 8 GPUs
    mkb compile ask.mkb -o plan.json && mkb explain plan.json
    mkb library                                   # what can carry out each step

The executors that need no GPU come with `pip install 'murakkab[local]'`.
"""


@click.command
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@common
@click.pass_obj
def command(output: Output, /, folder: Path) -> None:
    """Write a small project that works.

    DIR gets a workflow, inputs for it, a cluster file and a README. It must be new or empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        message = f"`{folder}` is there already and is not an empty folder"
        raise InputError(Diagnostic("not-empty", message, help="name a new folder"))
    name = folder.resolve().name
    files = {
        "ask.mkb": _WORKFLOW,
        "inputs.json": _INPUTS,
        "cluster.toml": _CLUSTER,
        "README.md": _README.replace("{name}", name),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        output.write(str(folder / file), text)
    lines = [f"wrote {folder / file}" for file in files]
    lines.append(f"next: cd {folder} && mkb run ask.mkb --inputs inputs.json")
    output.result("\n".join(lines), {"written": [str(folder / file) for file in files]})
