"""`read_text` with RapidOCR (PP-OCR models inside the wheel, on ONNX Runtime)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..media import Media
from .errors import ExecutorError
from .frames import pixels_of

if TYPE_CHECKING:
    from rapidocr import RapidOCR

# One call uses one core; the worker runs as many calls at once as the plan says.
_THREADS = 1
_LARGEST_SIDE = 2000  # pixels; a photograph gains nothing beyond and takes memory
_LONGEST_SIDE = 960
_ROLES = {"Det": "det", "Cls": "cls", "Rec": "rec"}


def read_text(frames: list[Media], *, longest_side: int = _LONGEST_SIDE) -> str:
    """Return the text seen in the images, one line each, in reading order, without repetitions.

    Lines come top to bottom, then left to right, first frame first; a line that an earlier frame
    showed (spaces and letter case aside) is not repeated. `longest_side` in pixels is the size at
    which text is looked for (it is read at full size): smaller is faster and misses small print.
    English and Chinese are read well, other Latin scripts mostly. Raises `ExecutorError` where a
    frame is not an image.
    """
    engine = _engine(longest_side)
    seen: dict[str, str] = {}
    for frame in frames:
        for line in _lines(engine, frame):
            seen.setdefault("".join(line.split()).casefold(), line)
    return "\n".join(seen.values())


def prepare() -> None:
    """Load the models, as every call needs them."""
    _engine(_LONGEST_SIDE)


def _lines(engine: RapidOCR, frame: Media) -> list[str]:
    found: Any = engine(pixels_of(frame))  # typed as a union, by which steps are switched on
    return [line.strip() for line in found.txts or () if line.strip()]


@lru_cache(maxsize=4)
def _engine(longest_side: int) -> RapidOCR:
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    paths = {f"{part}.model_path": str(_model(models, role)) for part, role in _ROLES.items()}
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": _LARGEST_SIDE,
            "Det.limit_type": "max",  # the default enlarges small frames, at three times the cost
            "Det.limit_side_len": longest_side,
            "EngineConfig.onnxruntime.intra_op_num_threads": _THREADS,
            "EngineConfig.onnxruntime.inter_op_num_threads": _THREADS,
            **paths,
        }
    )


def _model(folder: Path, role: str) -> Path:
    # Naming the file keeps RapidOCR from fetching one from the network when it is not there.
    found = sorted(folder.glob(f"*_{role}_*.onnx"))
    if not found:
        raise ExecutorError(
            f"the package `rapidocr` holds no `{role}` model in `{folder}`; reinstall it with "
            "`pip install --force-reinstall 'rapidocr>=3.10,<4'`"
        )
    return found[0]
