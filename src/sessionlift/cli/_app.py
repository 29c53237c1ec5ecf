"""The ``sessionlift`` program: its commands, put together."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from sessionlift._version import __version__
from sessionlift.cli._common import Group
from sessionlift.errors import EXIT_INTERRUPTED

_COMMANDS = {
    "plan": "_plan.plan",
    "migrate": "_migrate.migrate",
    "verify": "_verify.verify",
    "rollback": "_rollback.rollback",
    "status": "_status.status",
    "detect": "_detect.detect",
    "upgrade": "_in_place.upgrade",
    "downgrade": "_in_place.downgrade",
    "backup": "_backup.backup",
    "restore": "_backup.restore",
    "session-buddy": "_session_buddy.session_buddy",
    "schema": "_schema.schema",
    "report": "_report.report",
    "demo-store": "_demo.demo_store",
    "backfill": "_backfill.backfill",
    "catch-up": "_catch_up.catch_up",
    "rollout": "_rollout.rollout",
}
"""Where each command is. Only the one that runs is loaded: some need what takes half a second to load."""


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """A Ctrl-C while a command is still being loaded ends the program like a later one; click has a code of its own."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)


class _Program(Group):
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _ended_by_ctrl_c():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _ended_by_ctrl_c():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(importlib.import_module(f"sessionlift.cli.{module}"), name)
        return command


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sessionlift")
def main() -> None:
    """Move the sessions and traces of AI agents into the new store, and prove that nothing was lost.

    Exit codes: 0 all well; 1 something is in quarantine, a check found a difference, or `--on-error stop` ended
    the run; 2 wrong usage; 3 the source cannot be read or is not what it should be; 4 the target cannot be used;
    5 the result could not be printed, or the report not written; 130 interrupted.
    """
