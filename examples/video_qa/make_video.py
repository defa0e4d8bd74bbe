"""Draws and speaks `station.mp4`, the video of this example; only needed to change it.

Needs the executable `flite` (`apt-get install flite`) for the voice, and the Python packages `av`
and `pillow`, which `pip install '.[local]'` brings. The platforms stand only on the screen, the
opening hours are only spoken, so that a question about one needs the text and a question about
the other the speech. Run it as `python examples/video_qa/make_video.py`.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

TARGET = Path(__file__).parent / "station.mp4"
VOICE = "rms"  # of flite's voices the one that PocketSphinx understands best
WIDTH, HEIGHT, FRAMES_PER_S = 640, 360, 12
SOUND_HZ = 16_000
SPEECH_STARTS_S = 0.4

Draw = Callable[[ImageDraw.ImageDraw, float], None]


@dataclass(frozen=True)
class Shot:
    """One scene: what is written, what moves behind it, what is said."""

    seconds: float
    background: str
    ink: str
    headline: str
    lines: tuple[str, ...]
    draw: Draw
    speech: str = ""


def sunrise(canvas: ImageDraw.ImageDraw, progress: float) -> None:
    """Draw a sun that rises over the platforms."""
    top = 290 - 90 * progress
    canvas.ellipse((430, top, 560, top + 130), fill="#ffd166")
    canvas.rectangle((0, 300, WIDTH, HEIGHT), fill="#1b3a57")


def train(canvas: ImageDraw.ImageDraw, progress: float) -> None:
    """Draw a train that crosses the picture from left to right."""
    left = -260 + 620 * progress
    canvas.rectangle((0, 335, WIDTH, 340), fill="#8d99ae")
    canvas.rounded_rectangle((left, 275, left + 300, 332), 18, fill="#e63946")
    for window in range(5):
        x = left + 22 + window * 54
        canvas.rectangle((x, 287, x + 34, 307), fill="#f1faee")


def loaf(canvas: ImageDraw.ImageDraw, progress: float) -> None:
    """Draw a steaming loaf of bread."""
    canvas.ellipse((400, 210, 600, 330), fill="#a3662b")
    for cut in range(3):
        canvas.arc((420 + cut * 55, 230, 500 + cut * 55, 330), 180, 270, fill="#8a5220", width=6)
    for puff in range(3):
        y = 200 - ((progress * 90 + puff * 25) % 75)
        canvas.ellipse((450 + puff * 40, y, 466 + puff * 40, y + 16), fill="#fff8ec")


def guest(canvas: ImageDraw.ImageDraw, left: float, top: float, unit: float) -> None:
    """Draw a person who stands, 16 units tall."""

    def at(*numbers: float) -> list[float]:
        return [
            (top if index % 2 else left) + number * unit for index, number in enumerate(numbers)
        ]

    canvas.ellipse(at(-1.1, 0, 1.1, 2.5), fill="#e0b1cb")
    canvas.rounded_rectangle(at(-2.1, 2.7, 2.1, 8.6), 1.2 * unit, fill="#e0b1cb")
    for side in (-2.7, 1.6):
        canvas.rounded_rectangle(at(side, 3, side + 1.1, 8.8), 0.5 * unit, fill="#e0b1cb")
    legs = at(-1.8, 8, 1.8, 8, 2.2, 16, 0.9, 16, 0, 10, -0.9, 16, -2.2, 16)
    canvas.polygon(legs, fill="#e0b1cb")


def stairs(canvas: ImageDraw.ImageDraw, progress: float) -> None:
    """Draw a guest before stairs with a light that climbs them."""
    guest(canvas, left=130, top=210, unit=7.5)
    for step in range(6):
        left = 320 + step * 55
        canvas.rectangle((left, 330 - step * 28, WIDTH, HEIGHT), fill="#5b4b8a")
    light = 300 + 280 * progress
    canvas.ellipse((light, 290 - 130 * progress, light + 26, 316 - 130 * progress), fill="#f9f871")


SHOTS = (
    Shot(
        4.5,
        "#2f6690",
        "white",
        "CENTRAL STATION",
        ("Monday morning",),
        sunrise,
        "Good morning, and welcome to the central station.",
    ),
    Shot(3.5, "#10141f", "#f4d35e", "TRAIN TO LYON", ("Departs 14:35", "Platform 7"), train),
    Shot(
        4.0,
        "#e8f1f2",
        "#13293d",
        "TRAIN TO GENEVA",
        ("Departs 15:10", "Platform 3"),
        train,
        "Please keep your bags with you at all times.",
    ),
    Shot(
        5.0,
        "#f2c078",
        "#3d1f00",
        "STATION BAKERY",
        ("Fresh bread", "every day"),
        loaf,
        "The bakery in the main hall closes at nine in the evening.",
    ),
    Shot(
        4.5,
        "#231942",
        "#e0b1cb",
        "RESTAURANT",
        ("Upstairs",),
        stairs,
        "The restaurant on the second floor is closed today.",
    ),
)


def picture(shot: Shot, progress: float) -> Image.Image:
    """Draw one frame; `progress` runs from 0 to 1 over the shot."""
    image = Image.new("RGB", (WIDTH, HEIGHT), shot.background)
    canvas = ImageDraw.Draw(image)
    shot.draw(canvas, progress)
    canvas.text((40, 36), shot.headline, shot.ink, ImageFont.load_default(54))
    for row, line in enumerate(shot.lines):
        canvas.text((40, 116 + row * 60), line, shot.ink, ImageFont.load_default(46))
    return image


def sound(shot: Shot) -> np.ndarray:
    """Speak a shot's sentence: its whole length as mono 16-bit samples at `SOUND_HZ`."""
    track = np.zeros(round(shot.seconds * SOUND_HZ), np.int16)
    if not shot.speech:
        return track
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", VOICE, "-t", shot.speech, "-o", file.name]
        subprocess.run(command, check=True)
        with wave.open(io.BytesIO(Path(file.name).read_bytes())) as spoken:
            assert spoken.getframerate() == SOUND_HZ
            samples = np.frombuffer(spoken.readframes(spoken.getnframes()), np.int16)
    first = round(SPEECH_STARTS_S * SOUND_HZ)
    if first + len(samples) > len(track):
        raise ValueError(f"{shot.speech!r} lasts longer than its {shot.seconds} s")
    track[first : first + len(samples)] = samples
    return track


def main() -> None:
    """Write the video."""
    with av.open(str(TARGET), "w", options={"movflags": "+faststart"}) as file:
        video = file.add_stream("libx264", FRAMES_PER_S, options={"crf": "26", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = file.add_stream("aac", SOUND_HZ, layout="mono", bit_rate=64_000)
        for shot in SHOTS:
            count = round(shot.seconds * FRAMES_PER_S)
            for index in range(count):
                image = picture(shot, index / (count - 1))
                file.mux(video.encode(av.VideoFrame.from_image(image)))
        samples = np.concatenate([sound(shot) for shot in SHOTS])
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, 0, Fraction(1, SOUND_HZ)
        file.mux(audio.encode(frame))
        for stream in (video, audio):
            file.mux(stream.encode(None))


if __name__ == "__main__":
    main()
