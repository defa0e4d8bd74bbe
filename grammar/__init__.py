"""The grammars of the `.mkb` language and of the textual IR; nothing but grammars."""

from pathlib import Path

MKB = Path(__file__).with_name("mkb.lark")
IR = Path(__file__).with_name("ir.lark")
