"""Flags that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..compiler.driver import Request

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")  # of an executor or an engine
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*decorators: Decorator) -> Decorator:
    """Return one decorator that adds several options, shown by help in this order."""
    return lambda function: reduce(lambda f, add: add(f), reversed(decorators), function)


def _endpoints(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for value in values:
        name, _, url = value.partition("=")
        if not _NAME.fullmatch(name) or not url:
            # not shown: where the name was left out, this is a URL, and keys hide in those
            raise click.BadParameter("what it was given is not of the form NAME=URL", ctx, param)
        if name in found:
            raise click.BadParameter(f"`{name}` is given twice", ctx, param)
        found[name] = url
    return tuple(found.items())


def _policy(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Any], ...]:
    found: dict[str, Any] = {}
    for value in values:
        name, is_given, said = value.partition("=")
        if not is_given:
            raise click.BadParameter(f"`{value}` is not of the form NAME=VALUE", ctx, param)
        if name in found:
            raise click.BadParameter(f"`{name}` is given twice", ctx, param)
        found[name] = _setting(name, said.strip())
    return tuple(found.items())


def _setting(name: str, said: str) -> Any:
    """Return a value as it is in JSON: a number, a list of causes, null for `off`, else text."""
    from ..targets.json_document import strict_json

    if name == "retry":
        return [] if said == "off" else [cause.strip() for cause in said.split(",")]
    if said == "off":
        return None
    with suppress(ValueError):
        return strict_json(said)
    return said


# `Output.of` reads these three from the raw arguments, so that they count for usage errors too
common = together(
    click.option("--json", is_flag=True, expose_value=False, help="Print one JSON document."),
    click.option(
        "--format",
        type=click.Choice(["text", "json"]),
        expose_value=False,
        help="`--format json` is `--json`.",
    ),
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
)

libraries = click.option(
    "--library",
    "libraries",
    metavar="F",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Add an executor library (TOML).",
)

catalogs = click.option(
    "--catalog",
    "catalogs",
    metavar="F",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Add figures of models and hardware (TOML).",
)

endpoints = click.option(
    "--endpoint",
    "endpoints",
    metavar="NAME=URL",
    multiple=True,
    callback=_endpoints,
    help="Attach executor NAME to a server that runs.",
)

environment_flags = together(
    click.option(
        "--target",
        metavar="T",
        help="What to compile for: `local`, `sim` where there is a cluster, `vllm`.",
    ),
    click.option(
        "--cluster", metavar="F", type=click.Path(path_type=Path), help="The hardware (TOML)."
    ),
    libraries,
    catalogs,
    endpoints,
    click.option(
        "--profiles",
        metavar="F",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Add measured profiles (CSV).",
    ),
)

compile_flags = together(
    click.option("--workflow", metavar="NAME", help="Which workflow of the file."),
    environment_flags,
    click.option("-O0", "level", type=int, flag_value=0, help="Reference executors, no rewriting."),
    click.option("-O1", "level", type=int, flag_value=1, help="Rewrite, keep reference executors."),
    click.option("-O2", "level", type=int, flag_value=2, default=2, help="Everything (default)."),
    click.option("--sequential", is_flag=True, help="One call at a time."),
    click.option("--failover", is_flag=True, help="Plan substitutes for when a server stays away."),
    click.option(
        "--on-failure",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_policy,
        help="How a run meets failures: `attempts=5`, `hedge_after=off`, …",
    ),
    click.option("--passes", metavar="SPEC", help="Run this pipeline instead of the level's."),
    click.option(
        "--minimize", metavar="M", help="Minimise this first: `cost`, `energy then cost`, …"
    ),
    click.option(
        "--require", metavar="R", multiple=True, help='Add a requirement: "accuracy >= 0.8".'
    ),
)


def stated_flags(flags: Mapping[str, Any]) -> list[str]:
    """Return those of `compile_flags` that were given a value other than their default."""
    names = {
        "libraries": "--library",
        "catalogs": "--catalog",
        "endpoints": "--endpoint",
        "on_failure": "--on-failure",
        "level": f"-O{flags.get('level')}",
    }
    return sorted(
        names.get(name, f"--{name}")
        for name, value in flags.items()
        if value not in ((None, (), False) if name != "level" else (2,))
    )


def request(source: Path | str, flags: Mapping[str, Any]) -> Request:
    """Return what to compile, from the values of `compile_flags` or `environment_flags`."""
    from ..compiler.driver import Request
    from ..targets.failure_policy import failure_policy

    known = {name: value for name, value in flags.items() if name != "on_failure"}
    policy = failure_policy(dict(flags.get("on_failure", ())))
    return Request(source=source, failure=policy, **known)
