"""`mkb predict`: how fast a model server is, what it draws, and whether it fits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import catalogs, common
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..targets.forecast import Forecast
    from ..targets.hardware_names import Names
    from ..targets.perfmodel import Query

SOURCES = ("analytic", "aiconfigurator", "auto")
_WIDTH = 24


@click.command
@click.option("--model", metavar="M", help="A name in the catalogue or on the hub, or a folder.")
@click.option("--gpu", metavar="G", help="A GPU of the catalogue, or a CPU (one socket).")
@click.option("--tp", type=click.IntRange(min=1), metavar="N", help="GPUs; 1.")
@click.option("--batch", type=click.FloatRange(min=1), metavar="B", help="Requests in flight; 1.")
@click.option("--isl", type=click.FloatRange(min=0), metavar="I", help="Prompt tokens; 161.")
@click.option("--osl", type=click.FloatRange(min=1), metavar="O", help="Output tokens; 338.")
@click.option("--precision", metavar="P", help="`bf16`, `fp8`, `int4`, …; as published otherwise.")
@click.option("--engine", metavar="E", help="`vllm` (default), `sglang`, `trtllm`.")
@click.option("--engine-version", metavar="V", help="Of the engine; the newest known otherwise.")
@click.option(
    "--anchor",
    "anchor_files",
    metavar="F",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Measured load points (CSV) that win over the model.",
)
@click.option(
    "--source",
    type=click.Choice(SOURCES),
    default="auto",
    help="Where figures come from that nobody measured.",
)
@catalogs
@click.option("--csv", "table", metavar="F", help="Questions in bulk (CSV); `-` is stdin.")
@click.option("-o", "to", metavar="F", help="Write the answers to `--csv` here, not to stdout.")
@common
@click.pass_obj
def command(
    output: Output,
    /,
    anchor_files: tuple[Path, ...],
    source: str,
    table: str | None,
    to: str | None,
    catalogs: tuple[Path, ...],
    **flags: Any,
) -> int | None:
    """Predict the speed, power and memory of a model server.

    `mkb predict --model Llama-3.1-8B --gpu H100 --batch 16 --isl 1024 --osl 256`
    """
    from .predictions import catalogue, in_bulk

    given = {name: value for name, value in flags.items() if value is not None}
    if table is not None:
        return in_bulk(output, table, to, given, anchor_files, source, catalogs)
    missing = [f"--{name}" for name in ("model", "gpu") if name not in given]
    if missing:
        raise click.UsageError(f"`{missing[0]}` is missing (or `--csv F` for many at once)")
    if to is not None:
        raise click.UsageError("`-o` goes with `--csv`")
    _one(output, given, catalogue(catalogs), anchor_files, source)
    return None


def _one(
    output: Output,
    given: Mapping[str, Any],
    names: Names,
    files: tuple[Path, ...],
    source: str,
) -> None:
    from ..ir.diagnostics import InputError
    from ..targets.forecast import fits, forecasts, unfit
    from ..targets.prediction import Question, bad_degree, query_of
    from .predictions import anchors_of

    query = query_of(Question(**given), names)
    wrong = bad_degree(query) or (None if fits(query) else unfit(query))
    if wrong is not None:
        raise InputError(wrong)
    anchors = anchors_of(output, files, names, [query])
    (found,) = forecasts([query], anchors, source=source)
    output.result(_shown(query, found), {"question": _question(query), **_figures(found)})


def _figures(found: Forecast) -> dict[str, Any]:
    """Return a forecast for JSON, which has no word for a figure that is none."""
    return {k: None if v != v else v for k, v in asdict(found).items()}


def _question(query: Query) -> dict[str, Any]:
    return {
        "model": query.model.name,
        "gpu": query.device.type,
        "tp": query.tp,
        "batch": query.batch,
        "isl_tok": query.isl,
        "osl_tok": query.osl,
        "precision": query.precision,
        "engine": query.engine,
        "engine_version": query.version,
    }


def _shown(query: Query, found: Forecast) -> str:
    where = f"{query.tp} x {query.device.type}" if query.tp > 1 else query.device.type
    version = f" {query.version}" if query.version else ""
    engine = f", {query.engine}{version}" if query.model.kind == "llm" else ""
    first = f"{query.model.name} in {query.precision} on {where}{engine}"
    rows = _decoding(found) if query.model.kind == "llm" else _working(query, found)
    rows += [
        ["power", f"{found.power_w:,.0f} W"],
        ["memory of a GPU", f"{found.memory_gb:.1f} GB"],
    ]
    if found.concurrent < query.batch:
        rows.append(["in memory at once", f"{found.concurrent:.0f} of {query.batch:.0f} requests"])
    rows.append(["error band", f"+-{found.error_band_pct:.0f} %"])
    rows.append(["source", found.source])
    return "\n".join([first, *(f"{name:{_WIDTH}}{value}" for name, value in rows)])


def _decoding(found: Forecast) -> list[list[str]]:
    return [
        ["time to first token", f"{found.ttft_ms:,.0f} ms"],
        ["median step (itl)", f"{found.itl_ms:.2f} ms"],
        ["time per token (tpot)", f"{found.tpot_ms:.2f} ms"],
        ["throughput", f"{found.throughput_tok_s:,.0f} tokens / s"],
        ["energy", f"{found.energy_j_per_output_tok:.4g} J / output token"],
    ]


def _working(query: Query, found: Forecast) -> list[list[str]]:
    """Return the rows of a stage: an item is what the catalogue says, or a text of `isl` tokens."""
    item = query.model.item or f"text of {query.isl:g} tokens"
    unit = "tokens" if query.model.kind == "asr" else "items"
    return [
        ["one item", item],
        [f"batch of {query.batch:g}", f"{found.ttft_ms:,.2f} ms"],
        ["throughput", f"{found.throughput_tok_s:,.1f} {unit} / s"],
        ["energy", f"{found.energy_j_per_output_tok:.4g} J / {unit[:-1]}"],
    ]
