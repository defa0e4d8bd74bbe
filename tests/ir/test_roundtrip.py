"""The text form of the IR: reading what was printed gives the same module."""

from hypothesis import given, settings

from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.verifier import verify
from murakkab.ir.workflow import Module

from .modules import modules


@settings(deadline=None)
@given(modules())
def test_generated_modules_are_valid(module: Module) -> None:
    verify(module)


@settings(deadline=None)
@given(modules())
def test_reading_inverts_printing(module: Module) -> None:
    assert read_module(print_module(module)) == module
