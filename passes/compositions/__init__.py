"""Compositions (cascade, vote, reflection, debate) as ordinary IR, and their choice."""
