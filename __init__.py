"""Murakkab: an optimising compiler and thin runtime for compound-AI workflows."""

__version__ = "0.1.0"
