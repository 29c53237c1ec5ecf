"""The program's entry, for the console script and ``python -m sessionlift``."""

from __future__ import annotations

import sys

from sessionlift.errors import EXIT_INTERRUPTED, MemoryShortError


def main() -> None:
    """Load the commands and run one. A Ctrl-C that comes while they load ends the program like a later one, and so does
    memory that is too short for that."""
    try:
        from sessionlift.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(EXIT_INTERRUPTED)
    except MemoryError:
        short = MemoryShortError("memory is too short to load the program")
        sys.stderr.write(f"Error [{short.code}]: {short}\n")
        sys.exit(short.exit_code)


if __name__ == "__main__":
    main()
