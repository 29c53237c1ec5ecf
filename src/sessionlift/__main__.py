"""The program's entry, for the console script and ``python -m sessionlift``."""

from __future__ import annotations

import sys

from sessionlift.errors import EXIT_INTERRUPTED


def main() -> None:
    """Load the commands and run one. A Ctrl-C that comes while they load ends the program like a later one."""
    try:
        from sessionlift.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
