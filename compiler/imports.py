"""Finding and reading the files that a program is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..ir.diagnostics import CompileError, Diagnostic, InputError, Label
from . import ast
from .findings import Findings
from .parser import parse
from .source import read_source

STD_FOLDER = Path(__file__).parent / "std"
_SUFFIX = ".mkb"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A parsed file and the files it imports, in source order; `standard` marks shipped ones.

    `complete` tells whether every import was found and parsed.
    """

    file: ast.File
    lines: tuple[str, ...]
    imports: tuple[tuple[ast.Import, Loaded], ...]
    standard: bool = False
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Program:
    """The root file, every file in the order of need (imported ones first), and their texts."""

    root: Loaded
    files: tuple[Loaded, ...]
    sources: Mapping[str, str]


def standard_modules() -> tuple[str, ...]:
    """Return the import paths of the shipped modules, `std/code` and so on, sorted."""
    return tuple(sorted(f"std/{p.stem}" for p in STD_FOLDER.glob(f"*{_SUFFIX}")))


def load(
    text: str, path: str, root: Path | None, findings: Findings, sources: dict[str, str]
) -> Program:
    """Parse a file and all it imports; each file is read once, under the name `path` leads to.

    `root` is the folder that relative imports must stay inside; without one there are none. Texts
    are entered into `sources` as they are read, so that they are there when parsing fails.
    CompileError is raised for a root file that does not parse; what is wrong with imports and the
    files they name goes to `findings`.
    """
    loader = _Loader(root.resolve() if root is not None else None, findings, sources)
    loaded = loader.parsed(text, path, root)
    return Program(loaded, tuple(loader.order), sources)


@lru_cache(maxsize=16)
def _standard(name: str) -> tuple[str, ast.File]:
    text = (STD_FOLDER / f"{name.removeprefix('std/')}{_SUFFIX}").read_text(encoding="utf-8")
    return text, parse(text, name + _SUFFIX)


def import_hint(name: str) -> str | None:
    """Return a `help:` text where the standard library declares a task or type of this name."""
    for module in standard_modules():
        _, file = _standard(module)
        for decl in file.declarations:
            if not isinstance(decl, ast.Import) and decl.name.text == name:
                return f'it is in the standard library: `import "{module}"`'
    return None


class _Loader:
    def __init__(self, root: Path | None, findings: Findings, sources: dict[str, str]) -> None:
        self.root = root
        self.findings = findings
        self.sources = sources
        self.order: list[Loaded] = []
        self.done: dict[str, Loaded | None] = {}  # by real path, or by name for shipped files
        self.active: dict[str, str] = {}  # being read: real path -> name shown

    def parsed(self, text: str, path: str, folder: Path | None) -> Loaded:
        """Parse a file of the program and load what it imports."""
        self.sources[path] = text
        file = parse(text, path)
        real = str(folder.resolve() / Path(path).name) if folder is not None else path
        self.active[real] = path
        imports = [d for d in file.declarations if isinstance(d, ast.Import)]
        found = [(each, self.imported(each, path, folder)) for each in imports]
        del self.active[real]
        targets = tuple((node, target) for node, target in found if target is not None)
        loaded = Loaded(
            file, tuple(text.split("\n")), targets, complete=len(targets) == len(imports)
        )
        self.order.append(loaded)
        return loaded

    def imported(self, node: ast.Import, path: str, folder: Path | None) -> Loaded | None:
        """Return the file an import names, or None after saying why there is none."""
        wanted = str(node.path.value)
        if wanted == "std" or wanted.startswith("std/"):
            return self.shipped(node, wanted.removesuffix(_SUFFIX))
        if self.root is None or folder is None:
            self.findings.error(
                "unknown-import",
                f"`{wanted}` is relative to the importing file, and this text is not in a file",
                node.path.span,
                help="only the standard library can be imported here: "
                + ", ".join(f"`{name}`" for name in standard_modules()),
            )
            return None
        return self.relative(node, wanted, path, folder)

    def shipped(self, node: ast.Import, name: str) -> Loaded | None:
        if name not in standard_modules():
            known = standard_modules()
            self.findings.error(
                "unknown-import",
                f"the standard library has no `{name}`",
                node.path.span,
                help=self.findings.suggest(name, known)
                or "there are " + ", ".join(f"`{k}`" for k in known),
            )
            return None
        return self.once(name, lambda: self.standard(name))

    def standard(self, name: str) -> Loaded:
        text, file = _standard(name)
        self.sources[file.path] = text
        loaded = Loaded(file, tuple(text.split("\n")), (), standard=True)
        self.order.append(loaded)
        return loaded

    def relative(self, node: ast.Import, wanted: str, path: str, folder: Path) -> Loaded | None:
        name = wanted if wanted.endswith(_SUFFIX) else wanted + _SUFFIX
        assert self.root is not None
        try:
            real = (folder / name).resolve()
            real.exists()
        except (OSError, ValueError, RuntimeError):  # a NUL, too long, a loop of symbolic links
            real = folder / "\N{REPLACEMENT CHARACTER}"
        if PurePosixPath(wanted).is_absolute() or not real.is_relative_to(self.root):
            self.findings.error(
                "import-escape",
                f"`{wanted}` leads out of the folder of the program",
                node.path.span,
                help="imported files lie in the program's folder or below it",
            )
            return None
        if str(real) in self.active:
            chain = [*self.active.values()]
            chain = chain[list(self.active).index(str(real)) :]
            self.findings.error(
                "import-cycle",
                "files import each other: " + " -> ".join(f"`{c}`" for c in [*chain, chain[0]]),
                node.path.span,
                help="move what both need into a file of its own",
            )
            return None
        if not real.is_file():
            self.missing(node, wanted, real)
            return None
        shown = os.path.normpath(os.path.join(os.path.dirname(path), name)).replace(os.sep, "/")
        return self.once(str(real), lambda: self.file(node, shown, real))

    def missing(self, node: ast.Import, wanted: str, real: Path) -> None:
        beside = sorted(real.parent.glob(f"*{_SUFFIX}")) if real.parent.is_dir() else []
        folder = str(PurePosixPath(wanted).parent)
        prefix = "" if folder == "." else folder + "/"
        known = [prefix + p.stem for p in beside] + list(standard_modules())
        self.findings.error(
            "unknown-import",
            f"there is no file `{wanted.removesuffix(_SUFFIX)}{_SUFFIX}` beside the importing file",
            node.path.span,
            help=self.findings.suggest(wanted.removesuffix(_SUFFIX), known),
        )

    def file(self, node: ast.Import, shown: str, real: Path) -> Loaded | None:
        """Read and parse an imported file; its own faults are reported as they are."""
        try:
            return self.parsed(read_source(real), shown, real.parent)
        except CompileError as error:
            self.findings.diagnostics += [_named(d, str(real), shown) for d in error.diagnostics]
        except InputError as error:
            reasons = "; ".join(d.message for d in error.diagnostics)
            self.findings.error("unknown-import", f"cannot import: {reasons}", node.path.span)
        self.active.pop(str(real), None)
        return None

    def once(self, key: str, read: Callable[[], Loaded | None]) -> Loaded | None:
        if key not in self.done:
            self.done[key] = read()
        return self.done[key]


def _named(found: Diagnostic, real: str, shown: str) -> Diagnostic:
    """Return a diagnostic with the file called what the program calls it."""
    if found.span is None or found.span.file != real:
        return found
    labels = tuple(Label(replace(la.span, file=shown), la.message) for la in found.labels)
    return replace(found, span=replace(found.span, file=shown), labels=labels)
