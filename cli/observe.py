"""What is seen of a pipeline while it runs: dumps after passes, and the time each takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .options import Decorator, together
from .output import echo

if TYPE_CHECKING:
    from ..ir.workflow import Module
    from ..passes.base import Pass

observe_flags: Decorator = together(
    click.option("--print-ir-after", metavar="all|changed|PASS", help="Dump the IR after passes."),
    click.option("--time-passes", is_flag=True, help="Say how long each pass took."),
)


@dataclass
class Watch:
    """The pipeline's observer: prints on stderr, keeps the times until `finish`."""

    print_ir_after: str | None
    time_passes: bool
    times: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse the name of a pass that does not exist."""
        from ..passes.pipeline import REGISTRY

        known = ("all", "changed", *REGISTRY)
        if self.print_ir_after is not None and self.print_ir_after not in known:
            message = f"`--print-ir-after`: no pass is named `{self.print_ir_after}`"
            hint = did_you_mean(self.print_ir_after, known) or f"known: {', '.join(known)}"
            raise InputError(Diagnostic("usage", message, help=hint))

    def __call__(self, step: Pass, before: Module, after: Module, seconds: float) -> None:
        """See one finished pass."""
        self.times.append((str(step), seconds))
        wanted = self.print_ir_after in ("all", step.name) or (
            self.print_ir_after == "changed" and after != before
        )
        if wanted:
            from ..ir.printer import print_module

            echo(f"// ----- IR after {step} -----\n{print_module(after)}", err=True)

    def finish(self) -> dict[str, Any]:
        """Print the times, and return them for the document."""
        if not self.time_passes:
            return {}
        total = sum(seconds for _, seconds in self.times)
        for name, seconds in (*self.times, ("total", total)):
            share = seconds / total if total else 0.0
            echo(f"{seconds * 1e3:10.1f} ms {share:6.1%}  {name}", err=True)
        return {"times_s": [{"pass": name, "seconds": s} for name, s in self.times]}
