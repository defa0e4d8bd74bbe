"""Executors that do their work in this process, on the CPU, without downloading anything.

Each is a plain synchronous function on plain values: `Text` is `str`, lists and records are `list`
and `dict`, media are `Media`. A library entry names the function; the local worker calls it with
the interface's parameters and the plan's knobs as keyword arguments. Heavy imports happen inside
the functions, so naming an executor costs nothing. User-facing failures are `ExecutorError`.
"""
