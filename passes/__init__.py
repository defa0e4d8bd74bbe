"""Passes over the IR, the pass manager, and the analyses they ask."""
