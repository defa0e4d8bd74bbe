"""Tables as a terminal of some width shows them."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import click
from murakkab.cli.tables import indent, table
rows = [
    ["  frames", "opencv-frames [frames=3]", "a100/cpu, 8 at once", "5", "90.2 ms"],
    ["seen", "qwen3-vl-30b-read-text", "a100/gpu x1", "10", "1.41 s"],
]
click.echo(indent(table(("step", "executor", "where", "calls", "a call"), rows, left=3)))
"""
WIDE = """\
  step      executor                  where                calls   a call
    frames  opencv-frames [frames=3]  a100/cpu, 8 at once      5  90.2 ms
  seen      qwen3-vl-30b-read-text    a100/gpu x1             10   1.41 s
"""
WORDS = """\
  step      executor                where         calls   a call
    frames  opencv-frames           a100/cpu, 8       5  90.2 ms
            [frames=3]              at once
  seen      qwen3-vl-30b-read-text  a100/gpu x1      10   1.41 s
"""
HYPHENS = """\
  step      executor       where          calls   a call
    frames  opencv-frames  a100/cpu, 8        5  90.2 ms
            [frames=3]     at once
  seen      qwen3-vl-30b-  a100/gpu x1       10   1.41 s
            read-text
"""


def shown(columns: int) -> str:
    """Return what a terminal of so many columns is sent, without styles."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(ROOT / "typings")}
    env.pop("COLUMNS", None)
    subprocess.run([sys.executable, "-c", CODE], stdout=theirs, env=env, check=True)
    os.close(theirs)
    with open(ours, "rb") as terminal:
        return click.unstyle(terminal.read1().decode()).replace("\r\n", "\n")


@pytest.mark.parametrize(("columns", "text"), [(100, WIDE), (64, WORDS), (56, HYPHENS)])
def test_texts_are_broken_until_the_table_fits(columns: int, text: str) -> None:
    assert shown(columns) == text


def test_a_file_gets_every_row_on_one_line() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "typings"), "COLUMNS": "30"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, env=env, check=True)
    assert done.stdout.decode() == WIDE
