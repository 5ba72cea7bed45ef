"""The command line: `aiclient demo`, `check`, `top` and `simulate`. Needs the extra `cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = ("click", "rich")


def main() -> None:
    """What the script `aiclient` runs."""
    try:
        # Here, not above: without the extra this module must still be importable.
        import click
        import rich  # noqa: F401 - missing it is better said now than in the middle of a command

        from .commands import aiclient
    except ModuleNotFoundError as exc:
        if exc.name not in _NEEDED:
            raise
        sys.stderr.write(f"aiclient: {exc.name} is missing: pip install 'aiclient[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        # Not standalone: click would turn Ctrl-C into status 1.
        status = aiclient.main(prog_name="aiclient", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        status = exc.exit_code
    except click.Abort:  # what click makes of Ctrl-C, a new line begun
        sys.stderr.write("stopped\n")
        status = 130
    sys.exit(status)
