"""What `transformers` models do for calls: objects in frames, speech, captions, embeddings.

Used inside the child processes of the torch worker, the only place where torch is loaded. Every
model first reads each call's arguments by itself, so that what cannot be read fails its own call,
and then answers many calls in one pass. No answer depends on what else was in the pass: only
inputs that need no padding, or that the model masks, share one.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .entries import told
from .errors import CallFailed
from .executors.errors import ExecutorError
from .executors.sound import RATE_HZ, samples
from .media import Media

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray
    from PIL.Image import Image

Arguments = Mapping[str, Any]
Knobs = Mapping[str, Any]

_MOST_IMAGES = 32  # of one forward pass: more add little speed, and a pass holds them all in memory
_THRESHOLD = 0.5  # what the detectors' authors count as seen
_FULL_SCALE = 32768.0  # of 16-bit samples


class TorchModel(Protocol):
    """A loaded model for one or more interfaces."""

    def read(self, arguments: Arguments) -> Any:
        """Return what the model is fed for one call; raises `ExecutorError`."""

    def run(self, inputs: Sequence[Any], knobs: Knobs) -> list[Any]:
        """Return the values of calls, in their order, given what `read` returned for them."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model is: a folder (absolute) or its name on the hub, a device (`cpu`, `cuda`)."""

    location: str
    revision: str | None
    device: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of the user's own."""
        return os.path.isabs(self.location)

    def part(self, kind: Any) -> Any:
        """Load what `kind` (an `Auto…` class) finds there; nothing is downloaded."""
        version = {} if self.revision is None else {"revision": self.revision}
        return kind.from_pretrained(self.location, local_files_only=True, **version)

    def model(self, kind: Any) -> Any:
        """Load the model on its device; a CPU computes in 32 bits whatever the file holds."""
        model = self.part(kind).to(self.device).eval()
        return model.float() if self.device == "cpu" else model


class ObjectDetector:
    """`detect_objects(frames)`: names seen in any frame, the surest first.

    Knob `threshold`, in [0, 1]: how sure the model must be of an object.
    """

    def __init__(self, weights: Weights) -> None:
        """Load the model."""
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self._model = weights.model(AutoModelForObjectDetection)
        self._processor = weights.part(AutoImageProcessor)
        self._accepted = frozenset(inspect.signature(self._model.forward).parameters)

    def read(self, arguments: Arguments) -> list[Image]:
        """Decode the frames."""
        return [image_of(frame) for frame in arguments["frames"]]

    def run(self, inputs: Sequence[list[Image]], knobs: Knobs) -> list[list[str]]:
        """Look at all frames of all calls."""
        threshold = _number(knobs, "threshold", _THRESHOLD)
        frames = [(call, frame) for call, images in enumerate(inputs) for frame in images]
        sure: list[dict[str, float]] = [{} for _ in inputs]
        for some in _of_one_size(frames):
            seen = self._seen([frame for _, frame in some], threshold)
            for (call, _), objects in zip(some, seen, strict=True):
                for name, score in objects:
                    sure[call][name] = max(score, sure[call].get(name, 0.0))
        return [sorted(names, key=lambda n: (-names[n], n)) for names in sure]

    def _seen(self, frames: list[Image], threshold: float) -> list[list[tuple[str, float]]]:
        fed = self._processor(images=frames, return_tensors="pt")
        fed = fed.to(self._model.device, self._model.dtype)
        outputs = self._model(**{name: fed[name] for name in fed if name in self._accepted})
        found = self._processor.post_process_object_detection(outputs, threshold=threshold)
        names = self._model.config.id2label
        return [
            [
                (names[label], score)
                for label, score in zip(
                    objects["labels"].tolist(), objects["scores"].tolist(), strict=True
                )
            ]
            for objects in found
        ]


def _of_one_size(frames: list[tuple[int, Image]]) -> Iterator[list[tuple[int, Image]]]:
    """Yield frames that one pass can take: padding would let an answer depend on the others."""
    by_size: dict[tuple[int, int], list[tuple[int, Image]]] = {}
    for call, frame in frames:
        by_size.setdefault(frame.size, []).append((call, frame))
    for same in by_size.values():
        for start in range(0, len(same), _MOST_IMAGES):
            yield same[start : start + _MOST_IMAGES]


class SpeechRecogniser:
    """`transcribe(scene)` and `transcribe_audio(audio)` with Whisper and models made like it.

    What is longer than the model's window (30 s) is decoded window after window, by the time stamps
    the model writes (Radford et al., ICML 2023). Knob `language` (`"en"`) spares multilingual
    models the guess.
    """

    def __init__(self, weights: Weights) -> None:
        """Load the model."""
        from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

        self._model = weights.model(AutoModelForSpeechSeq2Seq)
        self._processor = weights.part(AutoProcessor)
        window = getattr(self._processor.feature_extractor, "n_samples", None)
        if window is None:
            raise CallFailed(f"`{weights.location}` is no model like Whisper; name one that is")
        self._window: int = window

    def read(self, arguments: Arguments) -> NDArray[float32]:
        """Decode the sound to 16 kHz mono, in [-1, 1)."""
        import numpy as np

        scene = arguments.get("scene")
        if scene is None:
            sound = samples(arguments["audio"], 0.0, None)
        else:
            sound = samples(scene["video"], scene["start"], scene["end"])
        return np.frombuffer(sound, np.int16).astype(np.float32) / _FULL_SCALE

    def run(self, inputs: Sequence[NDArray[float32]], knobs: Knobs) -> list[str]:
        """Transcribe recordings: one pass for those inside the window, one for the others."""
        texts = [""] * len(inputs)  # of a recording without sound
        heard = [i for i, sound in enumerate(inputs) if len(sound)]
        short = [i for i in heard if len(inputs[i]) <= self._window]
        long = [i for i in heard if len(inputs[i]) > self._window]
        options = {"language": str(knobs["language"])} if knobs.get("language") else {}
        for chosen, more in ((short, {}), (long, {"truncation": False, "padding": "longest"})):
            if not chosen:
                continue
            fed = self._processor(
                [inputs[i] for i in chosen],
                sampling_rate=RATE_HZ,
                return_tensors="pt",
                return_attention_mask=True,
                **more,
            ).to(self._model.device, self._model.dtype)
            stamps = {"return_timestamps": True} if chosen is long else {}
            tokens = self._model.generate(**fed, **stamps, **options)
            for i, text in zip(chosen, self._text(tokens), strict=True):
                texts[i] = text.strip()
        return texts

    def _text(self, tokens: Any) -> list[str]:
        found: list[str] = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return found


class Captioner:
    """`caption(image)` with models that need no prompt (BLIP, GIT). Knob `max_tokens`."""

    def __init__(self, weights: Weights) -> None:
        """Load the model."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._model = weights.model(AutoModelForImageTextToText)
        self._processor = weights.part(AutoProcessor)

    def read(self, arguments: Arguments) -> Image:
        """Decode the image."""
        return image_of(arguments["image"])

    def run(self, inputs: Sequence[Image], knobs: Knobs) -> list[str]:
        """Describe images."""
        limit = {"max_new_tokens": int(knobs["max_tokens"])} if "max_tokens" in knobs else {}
        fed = self._processor(images=list(inputs), return_tensors="pt")
        fed = fed.to(self._model.device, self._model.dtype)
        tokens = self._model.generate(pixel_values=fed["pixel_values"], **limit)
        texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]


class Embedder:
    """`embed(text)`: a unit vector out of the last layer.

    Knob `pooling`: `mean` of the tokens (as most sentence encoders are trained), the `first` token
    or the `last` one. What exceeds the model's context is cut off.
    """

    def __init__(self, weights: Weights) -> None:
        """Load the model."""
        from transformers import AutoModel, AutoTokenizer

        self._model = weights.model(AutoModel)
        self._tokenizer = weights.part(AutoTokenizer)
        positions = getattr(self._model.config, "max_position_embeddings", None)
        self._limit = min(self._tokenizer.model_max_length, positions or 8192)

    def read(self, arguments: Arguments) -> str:
        """Return the text."""
        return str(arguments["text"])

    def run(self, inputs: Sequence[str], knobs: Knobs) -> list[list[float]]:
        """Embed texts; padding is masked."""
        import torch

        pooling = knobs.get("pooling", "mean")
        if pooling not in ("mean", "first", "last"):
            raise CallFailed(f"`pooling` is `{pooling}`; it is `mean`, `first` or `last`")
        fed = self._tokenizer(
            list(inputs),
            padding=True,
            truncation=True,
            max_length=self._limit,
            return_tensors="pt",
        ).to(self._model.device)
        states = self._model(**fed).last_hidden_state.float()
        mask = fed["attention_mask"]
        if pooling == "mean":
            weights = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
        else:
            # the tokenizer may pad on either side
            order = mask.cumsum(dim=1) * mask
            wanted = 1 if pooling == "first" else order.amax(dim=1, keepdim=True)
            weights = (order == wanted) & (mask > 0)
        pooled = (states * weights.unsqueeze(-1)).sum(dim=1)
        vectors: list[list[float]] = torch.nn.functional.normalize(pooled, dim=1).tolist()
        return vectors


def image_of(image: Media) -> Image:
    """Decode an image as RGB, turned the way it is meant; raises `ExecutorError` if it is none."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image.read())) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError:
        reason = "it is not an image that can be decoded"
    except Image.DecompressionBombError:
        reason = "it is too large"
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's of a file that breaks off
        reason = getattr(error, "strerror", None) or str(error)
    raise ExecutorError(f"`{image.name}` cannot be read as image: {reason}; give PNG or JPEG")


def _number(knobs: Knobs, name: str, otherwise: float) -> float:
    value = knobs.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CallFailed(f"`{name}` is `{value}`; it must be a number")
    return float(value)


Family = Callable[[Weights], TorchModel]
FAMILIES: Mapping[str, Family] = {
    "caption": Captioner,
    "detect_objects": ObjectDetector,
    "embed": Embedder,
    "transcribe": SpeechRecogniser,
    "transcribe_audio": SpeechRecogniser,
}


def load_model(interface: str, weights: Weights) -> TorchModel:
    """Load the model for an interface; raises `CallFailed` saying what to do where it cannot be."""
    if weights.is_folder and not os.path.isdir(weights.location):
        raise CallFailed(
            f"its model's folder `{weights.location}` does not exist",
            help="paths in `model` start at the library file",
        )
    try:
        return FAMILIES[interface](weights)
    except CallFailed:
        raise
    except Exception as error:
        raise _unloadable(interface, weights, error) from error


def _unloadable(interface: str, weights: Weights, error: Exception) -> CallFailed:
    # its first sentence: what follows is advice that means fetching from the hub
    name, reason = weights.location, first_line(error).split(". ")[0]
    if isinstance(error, ImportError):
        return CallFailed(f"a package that `{name}` needs is missing: {reason}")
    if str(error).startswith("Unrecognized configuration class"):
        return CallFailed(
            f"`{name}` is not a model for `{interface}`",
            help="name a model of the right kind in the executor's `model`",
        )
    if type(error).__name__ == "OutOfMemoryError":
        return CallFailed(
            f"out of GPU memory while loading `{name}`",
            help="give the engine a GPU with more free memory, or name a smaller model",
        )
    if weights.is_folder:
        return CallFailed(
            f"`{name}` holds no model that can be loaded: {reason}",
            help="it needs what `save_pretrained` writes: config.json, the weights, the processor",
        )
    if isinstance(error, OSError):
        version = f" (revision `{weights.revision}`)" if weights.revision else ""
        return CallFailed(
            f"model `{name}`{version} is not on this machine, or not all of it",
            help="fetch it with `mkb pull PLAN`",
        )
    return CallFailed(f"`{name}` cannot be loaded: {reason}")


def first_line(error: BaseException) -> str:
    """Return an exception as its type and the first line of its message."""
    return told(error).strip().splitlines()[0]
