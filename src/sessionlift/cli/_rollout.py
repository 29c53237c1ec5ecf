"""``sessionlift rollout``."""

from __future__ import annotations

from typing import Any

import click

from sessionlift.bridge import Mode, Setting, change_setting, read_setting
from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.errors import UsageError


@click.command(cls=Command)
@click.argument("target")
@click.option("--mode", type=click.Choice(["off", "shadow", "lazy"]), default=None, help="What a first use does.")
@click.option("--share", type=click.FloatRange(0, 1), default=None, help="Share of all sessions, 0 to 1.")
@click.option("--allow", metavar="ID", multiple=True, help="Take this session whatever the share is.")
@click.option("--deny", metavar="ID", multiple=True, help="Never take this session.")
@click.option("--unlist", metavar="ID", multiple=True, help="Take this session off both lists.")
@click.option("--pause", is_flag=True, help="Move nothing for the time being; backfills wait.")
@click.option("--resume", is_flag=True, help="Go on after --pause.")
@click.option(
    "--shadow-budget",
    type=click.IntRange(min=1),
    default=None,
    help="Sessions that may mismatch before the share stops rising.",
)
@click.option("--forget-shadow", is_flag=True, help="Forget the mismatches, so that the share may rise again.")
@click.option("--show", is_flag=True, help="Change nothing; the same as giving no option.")
@json_option
def rollout(target: str, as_json: bool, show: bool, pause: bool, resume: bool, **given: Any) -> None:
    """Say, or set, which sessions the bridges over TARGET move; running ones follow within seconds.

    It is read by bridges that were opened with rollout="ledger", and by `sessionlift backfill` (pause and deny list).
    """
    if pause and resume:
        raise UsageError("--pause and --resume exclude each other", hint="leave one of them out")
    changes = {name: value for name, value in given.items() if value not in (None, (), False)}
    if pause or resume:
        changes["paused"] = pause
    if show and changes:
        raise UsageError("--show changes nothing", hint="leave out --show, or the other options")
    found = change_setting(target, **changes) if changes else read_setting(target)
    if as_json:
        emit_json({"ok": True, **found.to_dict()})
    else:
        click.echo("\n".join(lines_of(found)))


def lines_of(setting: Setting) -> list[str]:
    """A setting as lines of text."""
    if setting.rollout is None:
        return [f"{setting.target}: no rollout is set; bridges that follow the ledger move nothing"]
    now = setting.rollout
    mode: Mode = now.mode
    lines = [f"{setting.target}: {mode}, share {now.share:.6g}{', PAUSED' if now.paused else ''}"]
    for name, ids in (("allow", now.allow), ("deny", now.deny)):
        if ids:
            shown = ", ".join(sorted(ids)[:5]) + (f" and {len(ids) - 5:,} more" if len(ids) > 5 else "")
            lines.append(f"  {name}: {shown}")
    lines.append(f"  shadow budget: {now.shadow_budget:,} mismatching sessions")
    if setting.held is not None:
        lines.append(
            f"  HELD at share {setting.held:g}: the budget is spent; --forget-shadow lets the share rise again"
        )
    return lines
