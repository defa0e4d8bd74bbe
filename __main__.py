"""`python -m murakkab` and the console script `mkb`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from .cli.main import cli

    cli()


if __name__ == "__main__":
    main()
