"""`python -m murakkab` and the console script `mkb`."""

from __future__ import annotations

import gc

# New objects between looks for garbage cycles: Python's own 700 has it look through all the code
# that is just being imported, a tenth of the time of every start.
_GARBAGE_AFTER = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(_GARBAGE_AFTER)
    from .cli.main import cli

    cli()


if __name__ == "__main__":
    main()
