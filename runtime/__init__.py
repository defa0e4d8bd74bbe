"""Executes plans: state machine, asyncio driver, workers, executors, records."""
