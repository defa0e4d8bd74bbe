"""A child process of the torch worker: one replica of one model, which answers many calls at once.

Torch is loaded here and nowhere else, so that a native crash or a machine out of memory ends this
process and not the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .child import connected
from .errors import CallFailed
from .executors.errors import ExecutorError
from .torch_models import (
    FAMILIES,
    Arguments,
    Family,
    Knobs,
    TorchModel,
    Weights,
    first_line,
    load_model,
)

# Nothing is fetched: `mkb pull` does that. What remains on the log are last words.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
# A call's value, or why it failed, whether a repetition may help, and what to do about it.
Answer = tuple[bool, Any]


def main(socket: int, parent: int, asked: Mapping[str, Any]) -> None:
    """Load the model, tell whether that went well, and answer batches.

    `asked` has `interface`, `location`, `revision`, `gpus` (None: compute on CPUs) and `cores`. A
    batch is `(interface, knobs, [arguments, …])`, its answer a list of `Answer` in the same order.
    """
    connection = connected(socket, parent)
    os.environ.update(_ENVIRONMENT, CUDA_VISIBLE_DEVICES=_visible(asked["gpus"]))
    try:
        models = _Models(asked)
        models.get(asked["interface"])
    except CallFailed as error:
        connection.send(_failure(error))
        return
    connection.send((True, None))
    while True:
        try:
            interface, knobs, calls = connection.recv()
        except EOFError:
            return
        connection.send(models.answer(interface, knobs, calls))


def _visible(gpus: Sequence[int] | None) -> str:
    """Return the GPUs this process may see; the plan counts those its parent may."""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return ",".join(seen[gpu] if gpu < len(seen) else str(gpu) for gpu in gpus or ())


class _Models:
    """The models loaded from one place: one, unless executors of several kinds share the engine."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise CallFailed(
                f"the package `{error.name}` is missing",
                help="install with `pip install 'murakkab[torch]'`",
            ) from None
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(asked["cores"])
        gpu = asked["gpus"] is not None
        if gpu and not torch.cuda.is_available():
            raise CallFailed(
                "torch finds no GPU that it can use",
                help="check `nvidia-smi`, and that torch was installed for CUDA and not for CPUs",
            )
        device = "cuda" if gpu else "cpu"
        self._weights = Weights(asked["location"], asked["revision"], device)
        self._loaded: dict[Family, TorchModel] = {}

    def get(self, interface: str) -> TorchModel:
        """Return the model for an interface; raises `CallFailed`."""
        family = FAMILIES[interface]
        if family not in self._loaded:
            self._loaded[family] = load_model(interface, self._weights)
        return self._loaded[family]

    def answer(self, interface: str, knobs: Knobs, calls: Sequence[Arguments]) -> list[Answer]:
        """Answer calls in one pass, without those whose arguments cannot be read."""
        import torch

        answers: dict[int, Answer] = {}
        inputs: dict[int, Any] = {}
        try:
            model = self.get(interface)
        except CallFailed as error:
            return [_failure(error)] * len(calls)
        for number, arguments in enumerate(calls):
            try:
                inputs[number] = model.read(arguments)
            except Exception as error:
                answers[number] = _failure(error)
        with torch.inference_mode():
            results = _run(model, list(inputs.values()), knobs)
        answers.update(zip(inputs, results, strict=True))
        return [answers[number] for number in range(len(calls))]


def _run(model: TorchModel, inputs: Sequence[Any], knobs: Knobs) -> list[Answer]:
    """Run the model on all inputs, or where that fails on each alone: the others are not at fault.

    That also finds room where the memory does not hold all of them.
    """
    if not inputs:
        return []
    try:
        return [(True, value) for value in model.run(inputs, knobs)]
    except Exception as error:
        reason = first_line(error)
        if "CUDA error" in reason:
            sys.exit(reason)  # the device's context is lost with whatever is tried next
        failure = _failure(error)
    if len(inputs) == 1:
        return [failure]
    return [answer for one in inputs for answer in _run(model, [one], knobs)]


def _failure(error: Exception) -> Answer:
    if isinstance(error, CallFailed):
        return False, (error.message, error.retryable, error.help)
    if isinstance(error, ExecutorError):
        return False, (error.message, error.retryable, None)
    if isinstance(error, ImportError):
        help = "install with `pip install 'murakkab[torch]'`"
        return False, (f"the package `{error.name}` is missing", False, help)
    if type(error).__name__ == "OutOfMemoryError":
        help = "give the engine a GPU with more free memory, or name a smaller model"
        return False, ("out of GPU memory in a call of its own", False, help)
    return False, (f"raised {first_line(error)}", False, None)
