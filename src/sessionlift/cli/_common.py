"""What every command shares: how results and errors leave the program."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from sessionlift.errors import (
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    EXIT_OUTPUT,
    EXIT_PIPE,
    InterruptedRunError,
    MemoryShortError,
    SessionliftError,
    UsageError,
)
from sessionlift.reports import Report, render_text, without_report
from sessionlift.runs import Interrupts

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")


def emit_json(value: Any) -> None:
    """One JSON document on standard output, keys in the order they were built."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def fail(error: SessionliftError, *, as_json: bool) -> NoReturn:
    """Say what is wrong and what to do next, then leave with the error's own exit code."""
    if as_json:
        emit_json({"ok": False, **error.to_dict()})
    else:
        click.echo(f"Error [{error.code}]: {error}", err=True)
        _name_report(error)
    sys.exit(error.exit_code)


def _name_report(error: SessionliftError) -> None:
    """Say where the report of a run lies that did not come to its end, if it left one."""
    if "report" in error.fields:
        click.echo(f"Report: {error.fields['report']}", err=True)


def _interrupted(told: BaseException | None, *, as_json: bool) -> NoReturn:
    error = told if isinstance(told, InterruptedRunError) else InterruptedRunError("the command was interrupted")
    if as_json:
        emit_json({"ok": False, **error.to_dict()})
    click.echo("Interrupted. Run the same command again to go on from here.", err=True)
    if not as_json:
        _name_report(error)
    sys.exit(EXIT_INTERRUPTED)


def end(report: Report, path: Path | None) -> None:
    """End a command that came to its end: with 5 where its report could not be written, with 1 where someone has to
    look. A run without a report is never told as well."""
    if path is None:
        click.echo("Error [report]: what the command did is done, but its report could not be written", err=True)
        click.echo(f"  next: {without_report(report)}", err=True)
        sys.exit(EXIT_OUTPUT)
    if report.has_findings:
        sys.exit(EXIT_FINDINGS)


def tell(
    report: Report,
    path: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    also: Mapping[str, Any] | None = None,
    lines: Sequence[str] = (),
) -> None:
    """Print a report, where it was written and what is ``also`` to be said (behind it: ``lines``), and ``end``."""
    if as_json:
        ok = path is not None and not report.has_findings
        emit_json({"ok": ok, "report": report.to_dict(), **(also or {}), "path": None if path is None else str(path)})
    elif not quiet:
        click.echo(render_text(report))
        for line in (*lines, *([] if path is None else [f"Report: {path}"])):
            click.echo(line)
    end(report, path)


class Command(click.Command):
    """A command whose errors from our own tree become messages and exit codes, never tracebacks."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """A wrong call is told in the shape that was asked for, too."""
        as_json = "--json" in args
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if not as_json:
                raise
            path = error.ctx.command_path if error.ctx is not None else str(info_name)
            fail(UsageError(error.format_message(), hint=f"{path} --help"), as_json=True)
        except UsageError as error:
            fail(error, as_json=as_json)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        rest = super().parse_args(ctx, args)
        given, _, _ = self.make_parser(ctx).parse_args(words)
        for option in self.params:
            # what may be given many times names sessions, and the id of one may be empty
            if isinstance(option, click.Option) and not option.multiple and given.get(str(option.name)) == "":
                name = option.opts[0]
                raise UsageError(
                    f"{name} was given an empty value, as a shell variable has that is not set",
                    hint=f"give {name} a value, or leave it out",
                )
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        as_json = bool(ctx.params.get("as_json", False))
        try:
            # SIGTERM and a lost terminal end a command as Ctrl-C does: with everything tidied up
            with Interrupts().listening():
                return super().invoke(ctx)
        except SessionliftError as error:
            fail(error, as_json=as_json)
        except KeyboardInterrupt as stopped:
            _interrupted(stopped.__cause__, as_json=as_json)
        except (MemoryError, RuntimeError) as error:
            if (short := MemoryShortError.of(error)) is not None:
                fail(short, as_json=as_json)
            # what DuckDB makes of a Ctrl-C that comes while it works
            if "interrupted" not in str(error).lower():
                raise
            _interrupted(None, as_json=as_json)
        except BrokenPipeError:
            sys.exit(EXIT_PIPE)
        except OSError as error:
            if (short := MemoryShortError.of(error)) is not None:
                fail(short, as_json=as_json)
            # stores map their own; what has no file is standard output
            where = error.filename or "standard output"
            click.echo(f"Error [output]: {where} could not be written or read: {error.strerror or error}", err=True)
            click.echo("  next: what the command did is done; its report, if it writes one, has the result", err=True)
            sys.exit(EXIT_OUTPUT)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type
