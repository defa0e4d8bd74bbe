"""Placing one job: the problem as data, the solver, and why there is no placement."""
