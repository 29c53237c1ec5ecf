"""An option that is given does what it says, or is refused: it is never passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sessionlift._demo import make_langswarm_v1
from sessionlift.cli import main
from sessionlift.errors import UsageError
from sessionlift.runs import RollbackOptions, TransferOptions, migrate


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def all_commands(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def with_a_value(command: click.Command) -> list[click.Option]:
    options = [option for option in command.params if isinstance(option, click.Option)]
    return [option for option in options if not option.is_flag and not option.multiple]


EVERY_OPTION = [
    pytest.param(path, command, option, id=" ".join((*path, option.opts[0])))
    for path, command in all_commands()
    for option in with_a_value(command)
]


@pytest.mark.parametrize(("path", "command", "option"), EVERY_OPTION)
def test_an_empty_value_is_refused(
    tmp_path: Path, path: tuple[str, ...], command: click.Command, option: click.Option
) -> None:
    arguments = [str(tmp_path) for each in command.params if isinstance(each, click.Argument)]
    needed = [word for other in with_a_value(command) if other.required for word in (other.opts[0], "x")]
    outcome = run(*path, *arguments, *needed, option.opts[0], "")
    assert outcome.exit_code == 2, outcome.output
    assert option.opts[0] in outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_value_is_told_with_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "v1.db"
    make_langswarm_v1(store, sessions=2, seed=1, traps="none")
    for command in ("plan", "migrate", "backfill", "catch-up"):
        outcome = run(command, store, tmp_path / "v2.db", "--timezone", "")
        assert outcome.exit_code == 2
        assert "Error [usage]: --timezone was given an empty value" in outcome.stderr
        assert "next: give --timezone a value, or leave it out" in outcome.stderr
    told = json.loads(run("migrate", store, tmp_path / "v2.db", "--timezone=", "--json").stdout)
    assert (told["ok"], told["code"]) == (False, "usage")
    assert not (tmp_path / "v2.db").exists()


def test_an_empty_session_id_is_an_id(tmp_path: Path) -> None:
    make_langswarm_v1(tmp_path / "v1.db", sessions=2, seed=1, traps="none")
    outcome = run("migrate", tmp_path / "v1.db", tmp_path / "v2.db", "--only", "")
    assert outcome.exit_code == 2
    assert "no session ''" in outcome.stderr


def test_an_empty_value_is_refused_in_python_too(tmp_path: Path) -> None:
    make_langswarm_v1(tmp_path / "v1.db", sessions=2, seed=1, traps="none")
    with pytest.raises(UsageError, match="no time zone named ''"):
        migrate(str(tmp_path / "v1.db"), str(tmp_path / "v2.db"), TransferOptions(timezone="", timezone_given=True))
    with pytest.raises(UsageError, match="in one way"):
        RollbackOptions(run="", everything=True)
    with pytest.raises(UsageError, match="in one way"):
        RollbackOptions(since="", everything=True)
