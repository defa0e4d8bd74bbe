"""Every example compiles at every level, for the cluster and for an endpoint, to the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from murakkab.cli.main import cli

from .scripted import CLUSTER, CODE_TOOLS, EXAMPLES, MODEL, compiled

LIBRARIES: dict[str, tuple[Path, ...]] = {
    "code_debate": (CODE_TOOLS,),
    "dynamic_coding": (CODE_TOOLS,),
    "math_reflect": (),
}
_COMPILE = """
import sys
from pathlib import Path
import murakkab
source, cluster, *library = map(Path, sys.argv[1:])
sys.stdout.write(murakkab.compile(source, cluster=cluster, library=library).to_json())
"""


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", LIBRARIES)
def test_an_example_compiles_at_every_level(name: str, level: int) -> None:
    plan = compiled(name, LIBRARIES[name], cluster=CLUSTER, level=level)
    assert plan.target == "sim" and plan.predicted.gpus > 0
    attached = compiled(name, LIBRARIES[name], endpoints={MODEL: "http://h/v1"}, level=level)
    (endpoint,) = (engine.endpoint for engine in attached.engines if engine.endpoint is not None)
    assert attached.target == "vllm" and endpoint.url == "http://h/v1"


@pytest.mark.parametrize("name", LIBRARIES)
def test_its_plan_is_the_same_bytes_in_every_process(name: str) -> None:
    source = EXAMPLES / name / f"{name}.mkb"
    command = [sys.executable, "-c", _COMPILE, *map(str, (source, CLUSTER, *LIBRARIES[name]))]
    running = [
        subprocess.Popen(
            command,
            cwd=EXAMPLES,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate()[0] for process in running)
    assert one.startswith(b"{") and one == other


def test_examples_are_in_the_standard_layout() -> None:
    files = sorted(map(str, EXAMPLES.glob("*/*.mkb")))
    assert len(files) > 5
    done = CliRunner().invoke(cli, ["fmt", "--check", *files])
    assert done.exit_code == 0, done.output
