"""What is seen of a pipeline while it runs: dumps, times, what passes did and refused to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .options import Decorator, together
from .output import echo

if TYPE_CHECKING:
    from ..ir.remarks import Remark
    from ..ir.workflow import Module
    from ..passes.base import Pass

observe_flags: Decorator = together(
    click.option("--print-ir-after", metavar="all|changed|PASS", help="Dump the IR after passes."),
    click.option("--time-passes", is_flag=True, help="Say how long each pass took."),
    click.option("--stats", is_flag=True, help="Count what passes did and refused to do."),
    click.option("--remarks", is_flag=True, help="Say where, and which guard refused."),
)


@dataclass(frozen=True)
class _Seen:
    """One finished pass."""

    step: Pass
    before: Module
    after: Module
    seconds: float
    remarks: tuple[Remark, ...]


@dataclass
class Watch:
    """The pipeline's observer: prints on stderr, keeps the rest until `finish`."""

    print_ir_after: str | None
    time_passes: bool
    stats: bool
    remarks: bool
    seen: list[_Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse the name of a pass that does not exist."""
        from ..passes.pipeline import REGISTRY

        known = ("all", "changed", *REGISTRY)
        if self.print_ir_after is not None and self.print_ir_after not in known:
            message = f"`--print-ir-after`: no pass is named `{self.print_ir_after}`"
            hint = did_you_mean(self.print_ir_after, known) or f"known: {', '.join(known)}"
            raise InputError(Diagnostic("usage", message, help=hint))

    def __call__(
        self,
        step: Pass,
        before: Module,
        after: Module,
        seconds: float,
        remarks: tuple[Remark, ...],
    ) -> None:
        """See one finished pass."""
        self.seen.append(_Seen(step, before, after, seconds, remarks))
        wanted = self.print_ir_after in ("all", step.name) or (
            self.print_ir_after == "changed" and after != before
        )
        if wanted:
            from ..ir.printer import print_module

            echo(f"// ----- IR after {step} -----\n{print_module(after)}", err=True)

    def finish(self) -> dict[str, Any]:
        """Print what was asked for, and return it for the document."""
        document: dict[str, Any] = {}
        if self.time_passes:
            self._print_times()
            document["times_s"] = [
                {"pass": str(one.step), "seconds": one.seconds} for one in self.seen
            ]
        if self.remarks:
            document["remarks"] = self._remarks()
        if self.stats:
            document["stats"] = self._stats()
        return document

    def _print_times(self) -> None:
        total = sum(one.seconds for one in self.seen)
        times = [(str(one.step), one.seconds) for one in self.seen]
        for name, seconds in (*times, ("total", total)):
            share = seconds / total if total else 0.0
            echo(f"{seconds * 1e3:10.1f} ms {share:6.1%}  {name}", err=True)

    def _remarks(self) -> list[dict[str, Any]]:
        from dataclasses import asdict

        from .remarks import told

        found = [remark for one in self.seen for remark in one.remarks]
        for remark in found:
            echo(told(remark), err=True)
        return [asdict(remark) for remark in found]

    def _stats(self) -> list[dict[str, Any]]:
        """Print for each pass the operations and calls around it, and what its rewrites did."""
        from ..ir.remarks import counted
        from .tables import table

        rows: list[list[str]] = []
        found: list[dict[str, Any]] = []
        for one in self.seen:
            sizes = [_size(one.before), _size(one.after)]
            each = counted(one.remarks)
            operations, calls = (f"{a} → {b}" for a, b in zip(*sizes, strict=True))
            rows.append([str(one.step), "", operations, calls, "", ""])
            rows += [["", name, "", "", str(n), str(no)] for (_, name), (n, no) in each.items()]
            found.append(
                {
                    "pass": str(one.step),
                    "operations": [size[0] for size in sizes],
                    "calls": [size[1] for size in sizes],
                    "rewrites": {
                        name: {"applied": n, "refused": no} for (_, name), (n, no) in each.items()
                    },
                }
            )
        header = ("pass", "rewrite", "operations", "calls", "applied", "refused")
        echo(table(header, rows, left=2), err=True)
        return found


def _size(module: Module) -> tuple[int, int]:
    """Return how many operations a module's workflow has, and how many of them are calls."""
    ops = list(module.sole().walk())
    return len(ops), sum(op.symbol is not None for op in ops)
