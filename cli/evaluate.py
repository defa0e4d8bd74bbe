"""`mkb evaluate`: how well configurations of a workflow do on a dataset."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError
from .options import common, environment_flags, request
from .output import Output

if TYPE_CHECKING:
    from ..compiler.configured import Setting, Space
    from ..compiler.driver import Request
    from ..runtime.evaluation.dataset import Dataset, Item
    from ..runtime.evaluation.journal import Journal
    from ..runtime.evaluation.scoring import Metric
    from ..runtime.evaluation.search import Candidate, Search
    from ..runtime.evaluation.trials import Trials
    from ..targets.library import Executor

_PLACING_EFFORT = 1.0  # deterministic seconds: hardware does not change how good a result is
_MOST = 64


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be measured, as the flags say it."""

    metric: str
    judge: str | None
    expected: str
    items: int | None
    limit: int
    configurations: Path | None
    first: int | None
    eta: int
    seed: int
    at_once: int


@click.command
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    metavar="F",
    required=True,
    type=click.Path(path_type=Path),
    help="Items (JSONL): the workflow's inputs, and what is expected.",
)
@click.option(
    "--metric",
    metavar="M",
    required=True,
    help="`exact_match`, `contains`, `judge`, or MODULE:FUNCTION of yours.",
)
@click.option("--judge", metavar="NAME", help="The language model that `judge` asks.")
@click.option("--expected", metavar="FIELD", default="expected", help="What is expected is here.")
@click.option(
    "--items", metavar="N", type=click.IntRange(1), help="Use N items; chance says which."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=_MOST,
    help=f"Measure at most N configurations ({_MOST}).",
)
@click.option(
    "--configurations",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Measure the configurations that F (CSV) lists.",
)
@click.option(
    "--first", metavar="N", type=click.IntRange(1), help="Items that all configurations start on."
)
@click.option(
    "--eta",
    metavar="N",
    type=click.IntRange(2),
    default=2,
    help="Keep one of N configurations for N times the items (2).",
)
@click.option("--seed", metavar="N", type=int, default=0, help="Of what is left to chance (0).")
@click.option(
    "--at-once",
    metavar="N",
    type=click.IntRange(1),
    default=4,
    help="Items in flight (4).",
)
@click.option("-o", "to", metavar="F", type=click.Path(path_type=Path), help="Write the CSV here.")
@click.option("--workflow", metavar="NAME", help="Which workflow of the file.")
@environment_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: Path,
    dataset: Path,
    to: Path | None,
    workflow: str | None,
    target: str | None,
    cluster: Path | None,
    libraries: tuple[Path, ...],
    endpoints: tuple[tuple[str, str], ...],
    profiles: tuple[Path, ...],
    catalogs: tuple[Path, ...],
    **wishes: Any,
) -> None:
    """Measure how well configurations of a workflow do on a dataset.

    All configurations start on a few items; the better half goes on to twice as many, until the
    best is measured on all. Writes a workflow profile (CSV), a row for each configuration, which
    `--profiles` takes when compiling. Every scored item is kept beside it at once, so that the
    same command goes on where another ended.
    """
    from ..compiler.configured import configuration_space
    from ..runtime.evaluation.dataset import load_dataset

    flags = {
        "target": target,
        "cluster": cluster,
        "libraries": libraries,
        "endpoints": endpoints,
        "profiles": profiles,
        "catalogs": catalogs,
    }
    wish = _Wish(**wishes)
    wanted = request(file, {**flags, "workflow": workflow, "effort": _PLACING_EFFORT})
    judging = _judging(wish, wanted)
    space = configuration_space(wanted, output.sources)
    if space.target.described:
        message = f"target `{space.target.name}` makes results up, and there is nothing to score"
        raise InputError(Diagnostic("usage", message, help="give `--target local` or `vllm`"))
    items = load_dataset(dataset, space.workflow, wish.expected)
    path = to if to is not None else Path(f"{file.stem}.profile.csv")
    work = _Work(output, wish, wanted, space, items, path, judging, _settings(space, wish))
    search, metric = asyncio.run(work.run())
    if search.trials.stopping:
        output.aside(f"what is scored is kept in `{work.progress}`; the same command goes on")
        raise KeyboardInterrupt
    _tell(output, work, search, metric)


def _settings(space: Space, wish: _Wish) -> list[Setting]:
    """Return the configurations to measure."""
    if wish.configurations is not None:
        return space.listed(wish.configurations)[: wish.limit]
    return space.settings(wish.limit, wish.seed)


def _judging(wish: _Wish, wanted: Request) -> Executor | None:
    """Return the judge; InputError where there is one and `--metric` is another, or none."""
    if (wish.metric == "judge") != (wish.judge is not None):
        message = "`--metric judge` needs `--judge NAME`, and nothing else has a judge"
        raise InputError(Diagnostic("usage", message))
    if wish.judge is None:
        return None
    from ..compiler.judging import judging_executor

    return judging_executor(wish.judge, wanted)


@dataclass(frozen=True, slots=True)
class _Work:
    """What one evaluation is made of."""

    output: Output
    wish: _Wish
    wanted: Request
    space: Space
    dataset: Dataset
    path: Path
    judging: Executor | None
    settings: Sequence[Setting]

    @property
    def progress(self) -> Path:
        """Where the scored items are kept."""
        return self.path.with_name(f"{self.path.name}.progress.jsonl")

    async def run(self) -> tuple[Search, Metric]:
        """Measure; the search tells whether it was stopped."""
        from ..runtime.evaluation.trials import Trials
        from ..runtime.interrupts import Interrupts
        from ..runtime.serving.fleet import Serving
        from ..runtime.serving.warm import FOLDER
        from ..targets.library import load_library
        from .live import shown_engines

        with shown_engines(self.output) as on_engine:
            logs = FOLDER / "logs" / f"evaluate-{os.getpid()}"
            serving = Serving(environ=os.environ, logs=logs, warm=FOLDER, on_engine=on_engine)
            library = load_library(self.wanted.libraries)
            trials = Trials(library, serving, self.wish.at_once)
            with Interrupts(trials.stop):
                try:
                    metric = await self._metric(trials)
                    return await self._search(trials, metric), metric
                finally:
                    await trials.close()

    async def _metric(self, trials: Trials) -> Metric:
        from ..runtime.evaluation.scoring import metric_named

        if self.judging is None:
            return metric_named(self.wish.metric, self.dataset)
        from ..compiler.judging import judge_plan
        from ..runtime.evaluation.judge import judge

        plan = judge_plan(self.judging.name, self.wanted)
        await trials.hold(plan)
        return judge(plan, self.judging, trials)

    async def _search(self, trials: Trials, metric: Metric) -> Search:
        from ..runtime.evaluation.halving import first_rung
        from ..runtime.evaluation.search import Search
        from .rungs import watching

        candidates, items = self._candidates(), self._items()
        eta = self.wish.eta
        first = self.wish.first or first_rung(len(items), len(candidates), eta)
        with self._journal(metric) as journal, watching(self.output) as watcher:
            search = Search(
                candidates,
                items,
                min(first, len(items)),
                eta,
                journal,
                trials,
                metric.score,
                watcher,
            )
            await search.run()
        return search

    def _journal(self, metric: Metric) -> Journal:
        from ..runtime.evaluation.journal import open_journal

        digests = {
            "workflow": self.space.program,
            "library": self.space.digests["library"],
            "dataset": self.dataset.digest,
            "metric": f"{metric.name} {metric.digest}".strip(),
        }
        return open_journal(self.progress, self.space.workflow.name, digests)

    def _candidates(self) -> list[Candidate]:
        from functools import partial

        from ..compiler.configured import plan_of
        from ..runtime.evaluation.search import Candidate

        return [
            Candidate(
                self.space.key(setting),
                self.space.label(setting),
                partial(plan_of, self.space, setting),
            )
            for setting in self.settings
        ]

    def _items(self) -> list[Item]:
        """Return the items in the order in which rungs take them."""
        from ..runtime.evaluation.halving import shuffled

        order = shuffled(len(self.dataset.items), self.wish.seed)
        return [self.dataset.items[number] for number in order][: self.wish.items]


def _tell(output: Output, work: _Work, search: Search, metric: Metric) -> None:
    """Write the profile, and say how the configurations did."""
    from ..compiler.program import stated_program
    from ..runtime.errors import RunError
    from ..targets.workflow_profiles import workflow_profile_csv
    from . import scores

    done = sorted((c for c in search.candidates if c.n), key=lambda c: (-c.n, -c.mean))
    unable = [c for c in search.candidates if c.why_not is not None]
    output.report(
        Diagnostic("not-measured", f"{c.label}: {c.why_not}", severity="warning") for c in unable
    )
    if not done:
        raise RunError("no configuration could be measured")
    settings = {work.space.key(setting): setting for setting in work.settings}
    program = stated_program(work.space.program)
    source = f"{metric.name} on {work.dataset.path.name}, {program}"
    rows = [scores.row(work.space, settings[c.key], c, source) for c in done]
    output.write(str(work.path), workflow_profile_csv(rows))
    document: Mapping[str, object] = {
        "written": str(work.path),
        "progress": str(work.progress),
        "workflow": work.space.workflow.name,
        "metric": metric.name,
        "items": len(search.items),
        "configurations": [scores.entry(c, row) for c, row in zip(done, rows, strict=True)],
    }
    output.result(scores.shown(done), document)
    output.aside(f"\n{_summary(work, done, len(search.items))}")


def _summary(work: _Work, done: Sequence[Candidate], items: int) -> str:
    whole = sum(candidate.n == items for candidate in done)
    on_all = "1 is" if whole == 1 else f"{whole} are"
    lines = [f"{len(done)} of {work.space.size} configurations measured; {on_all} on all items"]
    lines.append(f"wrote `{work.path}`: give it to `--profiles` when compiling")
    return "\n".join(lines)
