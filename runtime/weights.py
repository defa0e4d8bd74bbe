"""The models that a plan needs, what belongs to each, and whether it is there and unchanged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..targets.library import Executor
from ..targets.model_folder import is_folder, model_location
from ..targets.plan import Plan
from ..targets.safetensors_file import read_header, weight_names

_INDEX = "model.safetensors.index.json"
# `pytorch_model.bin` and its like may run code when they are read: they are never asked for.
_TEXTS = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")
# What turns text, images or sound into a model's input; each family has one of them.
_PROCESSORS = (
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt"),
    *("tekken.json", "spiece.model", "preprocessor_config.json", "processor_config.json"),
)
_BLOCK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """A model that a plan's engines load: a folder's absolute path, or a name on the hub.

    `revision` is a branch, a tag or a commit of the hub; None for a folder, and where the hub's
    main branch is meant. `executor` is the first that needs it.
    """

    model: str
    revision: str | None
    is_folder: bool
    executor: str


def models_of(plan: Plan, executors: Mapping[str, Executor]) -> tuple[ModelNeed, ...]:
    """Return the models of a plan's engines; none for those that run elsewhere or in process."""
    needs: dict[tuple[str, str | None], ModelNeed] = {}
    for engine in plan.engines:
        executor = executors[engine.executor]
        if not engine.loads_model:
            continue
        model = model_location(executor)
        need = ModelNeed(model, executor.revision, is_folder(executor), executor.name)
        needs.setdefault((model, executor.revision), need)
    return tuple(needs[key] for key in sorted(needs, key=lambda key: (key[0], key[1] or "")))


def needed_files(names: Iterable[str]) -> list[str]:
    """Return which of a model's files are needed, by their names within it, sorted."""
    known = [name for name in names if not name.startswith(".")]
    texts = [name for name in known if any(fnmatchcase(name, shape) for shape in _TEXTS)]
    return sorted({*weight_names(known), *texts})


def missing_parts(folder: Path) -> list[str]:
    """Return what a model's folder lacks, in words; nothing where it is whole.

    Raises `InputError` where it has weights that are no safetensors files.
    """
    missing = [] if (folder / "config.json").is_file() else ["`config.json`"]
    missing += _missing_shards(folder)
    weights = [folder / n for n in weight_names(p.name for p in folder.glob("*.safetensors"))]
    if not weights and not missing:
        missing.append("weights in `*.safetensors`")
    missing += [f"the end of `{path.name}`" for path in weights if _is_cut(path)]
    if not any((folder / name).is_file() for name in _PROCESSORS) and not any(
        folder.glob("*.tiktoken")
    ):
        missing.append("a tokenizer (`tokenizer.json`, say) or a processor")
    return missing


def _missing_shards(folder: Path) -> list[str]:
    """Return what is missing of the files that the index of a model's weights names."""
    try:
        mapped = json.loads((folder / _INDEX).read_bytes())["weight_map"]
        names = sorted({str(name) for name in mapped.values()})
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return [f"an index of weights in `{_INDEX}`"]
    return [f"`{name}`" for name in names if not (folder / name).is_file()]


def _is_cut(path: Path) -> bool:
    """Tell whether a file of weights is shorter than its header says."""
    weights = sum(tensor.bytes for tensor in read_header(path).values())
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return path.stat().st_size < 8 + header + weights


def folder_files(folder: Path) -> dict[str, Path]:
    """Return the needed files of a folder, by their names within it."""
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    return {name: folder / name for name in needed_files(names)}


def weight_files(folder: Path) -> dict[str, Path]:
    """Return the weights of a folder, by their names within it."""
    return {n: path for n, path in folder_files(folder).items() if n.endswith(".safetensors")}


def folder_bytes(folder: Path) -> int:
    """Return the bytes of what a folder's model needs."""
    return sum(path.stat().st_size for path in folder_files(folder).values())


class Digests:
    """SHA-256 digests of files, kept in a file by path, time and size: weights are big."""

    def __init__(self, kept: Path) -> None:
        """Read what is kept; a file that cannot be read or understood keeps nothing."""
        self._kept = kept
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError, RecursionError):
            known = json.loads(kept.read_bytes())
            self._known = known if isinstance(known, dict) else {}

    def of(self, path: Path) -> str:
        """Return a file's digest; raises `OSError`."""
        stat = path.stat()
        key = str(path.resolve())
        known = self._known.get(key)
        match known:
            case [stat.st_mtime_ns, stat.st_size, str(found)]:
                return found
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        self._known[key] = [stat.st_mtime_ns, stat.st_size, digest.hexdigest()]
        return digest.hexdigest()

    def of_all(self, paths: Mapping[str, Path]) -> dict[str, str]:
        """Return the digests of files, by the same names, and keep them; raises `OSError`."""
        found = {name: self.of(path) for name, path in paths.items()}
        with suppress(OSError):  # a folder that cannot be written to costs time, not the run
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._kept.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            os.replace(unfinished, self._kept)
        return found
