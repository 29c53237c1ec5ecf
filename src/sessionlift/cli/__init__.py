"""The command line: thin, no logic of its own."""

from sessionlift.cli._app import main

__all__ = ["main"]
