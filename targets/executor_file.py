"""From a library file's `[[executor]]` entries to executors and compositions, mistakes in place."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..ir.ops import Attr
from .composition_file import bad_composition, composition
from .compositions import Composition
from .formula import Formula, FormulaError, constant, parse_formula
from .library import Amount, Executor, Quality
from .model_folder import LOADING_RUNNERS, config_digest, folder_model, is_folder, names_folder
from .toml_places import Path as KeyPath
from .toml_source import TomlSource

if TYPE_CHECKING:
    from .catalog import Model

RESULT_FACTS = ("tokens", "len", "duration", "pixels", "bytes", "fps", "images")
# Settings that decide what a call returns; a time-out or the name of a key's variable does not.
_DECISIVE_SETTINGS = (
    *("url", "url_env", "server_args", "temperature", "top_p", "top_k"),
    *("seed", "max_tokens", "presence_penalty", "stop"),
    *("threshold", "language", "pooling"),
)


def read_entries(source: TomlSource, folder: Path | None) -> tuple[Executor | Composition, ...]:
    """Return the entries of one file; `folder` is where a user's file stands, None if shipped.

    Raises InputError with every finding of the file.
    """
    findings: list[Diagnostic] = list(_repeated(source))
    entries: list[Executor | Composition] = []
    for i, row in enumerate(source.data["executor"]):
        if row.get("kind") == "composition":
            faults = [*bad_composition(source, i, row), *_bad_knobs(source, i, row)]
            findings.extend(faults)
            if not faults:
                entries.append(composition(source, i, row, _quality(row["quality"])))
            continue
        wrong = [*_refused(source, i, row), *_inconsistent(source, i, row, folder)]
        findings.extend(wrong)
        try:
            executor = _executor(source, i, row, "" if wrong else _code(row, folder))
        except InputError as e:
            findings.extend(e.diagnostics)
            continue
        entries.append(executor)
    if findings:
        raise InputError(findings)
    return tuple(entries)


def _repeated(source: TomlSource) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for i, row in enumerate(source.data["executor"]):
        if row["name"] in seen:
            message = f"an executor named `{row['name']}` is already in this file"
            yield source.finding("duplicate-executor", message, ("executor", i, "name"))
        seen.add(row["name"])


def _refused(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    if row["runner"] == "mcp":
        message = "the runner `mcp` is not supported by this version"
        yield source.finding("unsupported-executor", message, ("executor", i, "runner"))


_NEEDS = {
    "vllm": ("model",),
    "openai": ("model",),
    "torch": ("model",),
    "python": ("entry",),
}
_DEVICES = {
    "python": ("cpu",),
    "vllm": ("gpu", "cpu"),
    "torch": ("gpu", "cpu"),
    "openai": ("remote",),
    "http": ("remote",),
}


def _inconsistent(
    source: TomlSource, i: int, row: Mapping[str, Any], folder: Path | None
) -> Iterator[Diagnostic]:
    nul = list(_with_nul(source, i, row))
    if nul:  # nothing else can be asked of such a name
        yield from nul
        return
    runner = row["runner"]
    for key in _NEEDS.get(runner, ()):
        if key not in row:
            message = f"an executor of runner `{runner}` has no `{key}`"
            yield source.finding("missing-key", message, ("executor", i))
    if runner in ("openai", "http") and not {"url", "url_env"} & set(row.get("settings", ())):
        message = f"an executor of runner `{runner}` has no `settings.url` or `settings.url_env`"
        yield source.finding("missing-key", message, ("executor", i))
    for n, device in enumerate(row.get("devices", ())):
        if device not in _DEVICES.get(runner, (device,)):
            can = " or ".join(f"`{d}`" for d in _DEVICES[runner])
            message = f"runner `{runner}` cannot use the device `{device}`"
            path: KeyPath = ("executor", i, "devices", n)
            yield source.finding("bad-value", message, path, help=f"it uses {can}")
    yield from _bad_knobs(source, i, row)
    if "file" in row:
        yield from _bad_file(source, i, row, folder)
    if "revision" in row and (runner not in LOADING_RUNNERS or names_folder(row.get("model", ""))):
        what = "this one is a folder" if runner in LOADING_RUNNERS else f"`{runner}` loads none"
        message = f"`revision` belongs to a model on a hub, and {what}"
        yield source.finding("bad-value", message, ("executor", i, "revision"), key=True)
    yield from _bad_arguments(source, i, row)


def _with_nul(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Find texts with a NUL, which no file, command or URL can have."""
    settings = row.get("settings", {})
    places: list[tuple[KeyPath, Any]] = [(("executor", i, key), row[key]) for key in row]
    places += [(("executor", i, "settings", key), text) for key, text in settings.items()]
    for path, text in places:
        if isinstance(text, str) and "\0" in text:
            message = f"`{path[-1]}` holds a NUL character"
            yield source.finding("bad-value", message, path, help="leave `\\u0000` out")


# What the runtime tells a server itself, by the plan.
_OWN_FLAGS = frozenset(
    {
        *("--model", "--served-model-name", "--host", "--port", "--revision", "--api-key"),
        *("--tensor-parallel-size", "-tp", "--gpu-memory-utilization", "--scheduling-policy"),
    }
)


def _bad_arguments(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    said = row.get("settings", {}).get("server_args")
    if said is None:
        return
    path: KeyPath = ("executor", i, "settings", "server_args")
    try:
        flags = [part.partition("=")[0] for part in shlex.split(said)]
    except (ValueError, AttributeError):
        message = "`server_args` is not a command line: a quote is not closed"
        yield source.finding("bad-value", message, path)
        return
    for flag in flags:
        if flag.replace("_", "-") in _OWN_FLAGS:
            message = f"`{flag}` in `server_args` is what the plan decides"
            yield source.finding("bad-value", message, path, help="leave it out")


def _bad_knobs(source: TomlSource, i: int, row: Mapping[str, Any]) -> Iterator[Diagnostic]:
    knobs: Mapping[str, list[Attr]] = row.get("knobs", {})
    for name, choices in knobs.items():
        if len(set(map(repr, choices))) != len(choices):
            message = f"knob `{name}` has the same choice twice"
            yield source.finding("bad-value", message, ("executor", i, "knobs", name))
    if "together" in row["quality"] and row["implements"] != "generate":
        message = (
            f"`together` belongs to models of `generate`, this one is of `{row['implements']}`"
        )
        yield source.finding("bad-value", message, ("executor", i, "quality", "together"), key=True)
    for name, factors in row["quality"].get("factors", {}).items():
        path: KeyPath = ("executor", i, "quality", "factors", name)
        if name not in knobs:
            hint = did_you_mean(name, knobs)
            message = f"quality factors are of an unknown knob `{name}`"
            yield source.finding("unknown-knob", message, path, key=True, help=hint)
            continue
        missing = [c for c in knobs[name] if c not in [setting for setting, _ in factors]]
        if missing:
            message = f"knob `{name}` has no quality factor for `{missing[0]}`"
            yield source.finding("missing-factor", message, path)


def _bad_file(
    source: TomlSource, i: int, row: Mapping[str, Any], folder: Path | None
) -> Iterator[Diagnostic]:
    path: KeyPath = ("executor", i, "file")
    if row["runner"] != "python" or folder is None:
        message = "`file` belongs to an executor of runner `python` in a library of your own"
        yield source.finding("bad-file", message, path)
        return
    name = Path(row["file"])
    # resolved, so that a link cannot lead out of the folder the user vouched for
    target = (folder / name).resolve()
    if name.is_absolute() or not target.is_relative_to(folder.resolve()):
        message = f"`{row['file']}` is outside the library's folder"
        hint = "give a path relative to the library file, inside its folder"
        yield source.finding("bad-file", message, path, help=hint)
    elif name.suffix != ".py" or not target.is_file():
        message = f"`{row['file']}` is no Python file beside the library"
        yield source.finding("bad-file", message, path)


def _code(row: Mapping[str, Any], folder: Path | None) -> str:
    """Return the digest of what an entry of the user's own brings along: code, or a model."""
    if folder is None:
        return ""
    if row["runner"] in LOADING_RUNNERS and names_folder(row.get("model", "")):
        return config_digest(row["model"], folder)
    if "file" not in row:
        return ""
    return hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest()


def _executor(source: TomlSource, i: int, row: Mapping[str, Any], code: str) -> Executor:
    at: KeyPath = ("executor", i)
    price = row.get("price")
    runner = row["runner"]
    executor = Executor(
        name=row["name"],
        interface=row["implements"],
        description=row["description"],
        runner=runner,
        devices=tuple(row.get("devices", _DEVICES.get(runner, ("cpu",))[:1])),
        quality=_quality(row["quality"]),
        model=row.get("model"),
        entry=row.get("entry"),
        file=row.get("file"),
        pooling=row.get("pooling", "process"),
        cores=row.get("cores", 1 if runner == "python" else 0),
        memory_bytes=source.quantity((*at, "memory"), "bytes") if "memory" in row else 0.0,
        startup_s=source.quantity((*at, "startup"), "s") if "startup" in row else 0.0,
        knobs=tuple((name, tuple(choices)) for name, choices in row.get("knobs", {}).items()),
        prompt=row.get("prompt"),
        system=row.get("system"),
        work=_amounts(source, (*at, "work"), row.get("work", {})),
        result=_result(source, (*at, "result"), row.get("result", {})),
        requires=tuple(row.get("requires", ())),
        install=row.get("install", ""),
        open=row.get("open", False),
        idempotent=row.get("idempotent", False),
        context_tokens=row.get("context"),
        usd_per_mtok=price and (price["usd_per_mtok_prompt"], price["usd_per_mtok_output"]),
        settings=tuple(sorted(row.get("settings", {}).items())),
        digest=_digest(row, code),
        loc=source.span((*at, "name")),
        modalities=tuple(row.get("modalities", ("text",))),
        revision=row.get("revision"),
    )
    if executor.context_tokens is not None:
        return executor
    return replace(executor, context_tokens=_model_context(executor))


def _model_context(executor: Executor) -> int | None:
    """Return a language model's context; others cut their input up or read it piece by piece."""
    from .catalog import load_catalog

    if is_folder(executor):
        try:
            known: Model | None = folder_model(executor)
        except InputError:
            return None  # placement tells what is wrong with the folder, if it is wanted
    else:
        known = load_catalog().models.get(executor.model or "")
    return known.context_tokens if known is not None and known.kind == "llm" else None


def _quality(row: Mapping[str, Any]) -> Quality:
    factors = tuple(
        (knob, tuple((setting, float(factor)) for setting, factor in pairs))
        for knob, pairs in row.get("factors", {}).items()
    )
    together = float(row["together"]) if "together" in row else None
    return Quality(float(row["value"]), row["metric"], row["source"], factors, together)


def _result(
    source: TomlSource, at: KeyPath, row: Mapping[str, Any]
) -> tuple[tuple[str, Amount], ...]:
    for path in row:
        fact = path.rpartition(".")[2]
        if fact not in RESULT_FACTS:
            message = f"`{path}` does not end in a fact of a value"
            hint = did_you_mean(fact, RESULT_FACTS) or "facts are " + ", ".join(RESULT_FACTS)
            raise InputError(
                source.finding("unknown-fact", message, (*at, path), key=True, help=hint)
            )
    return _amounts(source, at, row)


def _amounts(
    source: TomlSource, at: KeyPath, row: Mapping[str, Any]
) -> tuple[tuple[str, Amount], ...]:
    return tuple((name, _amount(source, (*at, name), value)) for name, value in row.items())


def _amount(source: TomlSource, at: KeyPath, value: Any) -> Amount:
    if not isinstance(value, dict):
        formula = _formula(source, at, value)
        return Amount(formula, formula)
    return Amount(
        _formula(source, (*at, "p50"), value["p50"]), _formula(source, (*at, "p90"), value["p90"])
    )


def _formula(source: TomlSource, at: KeyPath, value: Any) -> Formula:
    if isinstance(value, (int, float)):
        return constant(float(value))
    try:
        return parse_formula(value)
    except FormulaError as e:
        span = source.within(at, e.offset)
        raise InputError(Diagnostic("bad-formula", f"{e}, in `{value}`", span)) from None


def _digest(row: Mapping[str, Any], code: str) -> str:
    """Return the digest of what decides a result; figures and descriptions do not."""
    keys = ("implements", "runner", "model", "revision", "entry", "knobs", "prompt", "system")
    decisive = {key: row[key] for key in keys if key in row}
    settings = row.get("settings", {})
    decisive["settings"] = {k: settings[k] for k in _DECISIVE_SETTINGS if k in settings}
    decisive["code"] = code
    text = json.dumps(decisive, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
