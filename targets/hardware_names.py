"""Models, GPUs, precisions and engines by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .catalog import Catalog, Model
from .model_folder import folder_figures, names_folder
from .perfconstants import ENGINES, PRECISION_NAMES, PRECISIONS
from .perfdevice import Device, gpu_device, processor_device

_T = TypeVar("_T")
# endings that say how a model was trained, or which weights it has, not what shape it is
_TRAINED = re.compile(r"-(instruct|thinking|chat|it|hf|base|v\d+(\.\d+)?|\d{4})$")
_CONVERTED = re.compile(r"-(fp8|int4|int8|awq|gptq|mxfp4|nvfp4|fp4|bf16)(-dynamic)?$")
_ENGINE_NAMES = {"tensorrt-llm": "trtllm", "tensorrt_llm": "trtllm", "trt-llm": "trtllm"}
_GPU_FORM = re.compile(r"_(sxm|pcie|nvl).*$")


@dataclass(frozen=True)
class Names:
    """What a catalogue knows, by every spelling that means one thing; small letters all."""

    catalog: Catalog
    models: Mapping[str, Model] = field(init=False)
    devices: Mapping[str, Device] = field(init=False)

    def __post_init__(self) -> None:
        """Index the catalogue."""
        object.__setattr__(self, "models", _spelled(self.catalog.models, _model_spellings))
        gpus = {name: gpu_device(gpu) for name, gpu in self.catalog.gpus.items()}
        cpus = {name: processor_device(cpu) for name, cpu in self.catalog.cpus.items()}
        object.__setattr__(self, "devices", _spelled(cpus | gpus, _device_spellings))

    def model(self, name: str) -> tuple[Model, str]:
        """Return a model and the precision that its name says, `""` where it says none.

        A folder with a `config.json` is read. InputError with the nearest name.
        """
        if names_folder(name):
            return folder_figures(Path(name)), ""
        for spelling in _model_spellings(name):
            if spelling in self.models:
                return self.models[spelling], ""
        converted = _CONVERTED.search(name.lower())
        if converted is not None:
            model, _ = self.model(name[: converted.start()])
            return model, self.precision(converted[1])
        hint = did_you_mean(name, self.catalog.models)
        hint = hint or did_you_mean(_last(name), {_last(known) for known in self.models})
        message = f"no model `{name}` in the catalogue"
        raise InputError(
            Diagnostic("unknown-model", message, help=hint or "a folder's name begins with `./`")
        )

    def device(self, name: str) -> Device:
        """Return a GPU, or a CPU's socket; InputError with the nearest name."""
        for spelling in _device_spellings(name):
            if spelling in self.devices:
                return self.devices[spelling]
        known = ", ".join(f"`{gpu}`" for gpu in self.catalog.gpu_types())
        hint = did_you_mean(name, [*self.catalog.gpus, *self.catalog.cpus])
        message = f"no GPU `{name}` in the catalogue"
        raise InputError(
            Diagnostic("unknown-gpu", message, help=hint or f"the catalogue has {known}")
        )

    def precision(self, name: str) -> str:
        """Return the name of a precision that the model of performance knows; InputError."""
        return _one_of("precision", name, PRECISIONS, PRECISION_NAMES)

    def engine(self, name: str) -> str:
        """Return the name of an engine that the model of performance knows; InputError."""
        return _one_of("engine", name, ENGINES, _ENGINE_NAMES)


def _one_of(what: str, name: str, known: Iterable[str], others: Mapping[str, str]) -> str:
    lower = name.strip().lower()
    found = others.get(lower, lower)
    if found in known:
        return found
    listed = ", ".join(f"`{each}`" for each in known)
    hint = did_you_mean(lower, known) or f"it is one of {listed}"
    raise InputError(Diagnostic("bad-value", f"no {what} `{name}`", help=hint))


def _spelled(named: Mapping[str, _T], spellings: Callable[[str], Iterable[str]]) -> dict[str, _T]:
    """Return things by all their spellings; the nearer a spelling is to a name, the sooner."""
    found: dict[str, _T] = {}
    lists = [(list(spellings(name)), thing) for name, thing in named.items()]
    for nearness in range(max((len(each) for each, _ in lists), default=0)):
        for each, thing in lists:
            if nearness < len(each):
                found.setdefault(each[nearness], thing)
    return found


def _model_spellings(name: str) -> list[str]:
    """Return a model's name, then without its owner, then without how it was trained."""
    lower = name.strip().lower()
    found = [lower, _last(lower), _last(lower).removeprefix("meta-")]
    while _TRAINED.search(found[-1]):
        found.append(_TRAINED.sub("", found[-1]))
    return found


def _device_spellings(name: str) -> list[str]:
    """Return a device's name, then without its maker, then without form and memory."""
    lower = name.strip().lower().removeprefix("nvidia").removeprefix("amd").strip(" -_")
    plain = re.sub(r"[ -]+", "_", lower)
    return [name.strip().lower(), plain, _GPU_FORM.sub("", plain)]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
