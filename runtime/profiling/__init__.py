"""Measuring what model servers and tools take, for the optimiser."""
