"""The examples on a model that says what a script has it say, behind a real port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import murakkab
from murakkab.targets.plan import Plan

from ..runtime.serving.receiver import receiver, refusal, said

EXAMPLES = Path(__file__).parents[2] / "examples"
CODE_TOOLS = EXAMPLES / "code_tools/library.toml"
CLUSTER = EXAMPLES / "clusters/one-a100-node.toml"
MODEL = "llama-3.1-8b"
Script = Callable[[str], Any]  # prompt to answer: text, or a document


def inputs(name: str) -> dict[str, Any]:
    """Return the inputs that stand beside an example."""
    found: dict[str, Any] = json.loads((EXAMPLES / name / "inputs.json").read_text("utf-8"))
    return found


def compiled(
    name: str, library: tuple[Path, ...] = (), *, file: str | None = None, **options: Any
) -> Plan:
    """Compile the workflow that an example's folder is named after, or another file in it."""
    path = EXAMPLES / name / f"{file or name}.mkb"
    return murakkab.compile(path, library=library, **options)


def run_scripted(
    name: str,
    script: Script,
    *,
    library: tuple[Path, ...] = (),
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[murakkab.Run, list[str]]:
    """Run an example on a scripted model; return the run, and the prompts in their order."""

    async def main() -> tuple[murakkab.Run, list[str]]:
        async with receiver() as server:
            asked: list[str] = []

            def answers(request: Any) -> Any:
                if request.path.endswith("/models"):
                    return refusal(404, "")  # a service that lists none: any name will do
                asked.append(server.bodies[-1]["messages"][-1]["content"])
                answer = script(asked[-1])
                return said(answer if isinstance(answer, str) else json.dumps(answer))

            server.usual = answers
            plan = compiled(name, library, endpoints={MODEL: f"{server.url}/v1"}, **options)
            given = {**inputs(name), **(changes or {})}
            return await murakkab.arun(plan, given, library=library), asked

    return asyncio.run(main())


def calls(run: murakkab.Run) -> dict[str, int]:
    """Return how often each step was called."""
    return {step["step"]: step["calls"] for step in run.record["steps"]}
