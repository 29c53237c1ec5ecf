"""Alembic's commands on one store: each runs in one transaction, together with its stamps."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from sessionlift._version import __version__
from sessionlift.errors import (
    EXIT_FINDINGS,
    GenerationError,
    SessionliftError,
    TargetNewerError,
    UsageError,
    WrongGenerationError,
)
from sessionlift.generations import _structure
from sessionlift.generations._connect import connect, over
from sessionlift.generations._detect import detect_in, read_shape, read_stamps
from sessionlift.generations._late import late_indexes
from sessionlift.generations._place import wrong_engine
from sessionlift.generations._revision import Settled, differs
from sessionlift.stores import Store, StoreURL, open_store, parse_store_url

_LEDGER = "ledger"
"""The label of what lies beside any system's tables."""


def schema_config() -> Path:
    """The ``alembic.ini`` that plain Alembic can be given with ``-c``."""
    return Path(__file__).parent.parent / "alembic" / "alembic.ini"


@dataclass(frozen=True)
class RevisionInfo:
    """One revision of this build. ``generation`` is its branch label, ``dialect`` sqlite or duckdb."""

    revision: str
    generation: str
    dialect: str
    down_revision: str | None
    summary: str

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def schema_history() -> list[RevisionInfo]:
    """Every revision of this build, by name. Opens no store."""
    found = []
    for script in _scripts().walk_revisions():
        down = script.down_revision
        found.append(
            RevisionInfo(
                revision=script.revision,
                generation=_label(script),
                dialect=script.module.dialect,
                down_revision=down if isinstance(down, str) else None,
                summary=script.doc,
            )
        )
    return sorted(found, key=lambda info: info.revision)


def schema_current(url: StoreURL | str) -> list[str]:
    """The revisions stamped in the store, sorted. Read-only."""
    with connect(url, mode="ro") as connection:
        return stamps_in(connection)


def schema_upgrade(url: StoreURL | str, revision: str, *, dress: str | None = None) -> list[str]:
    """Bring the store to ``revision``, making the store if it is not there; returns its stamps afterwards.

    ``dress`` ("final" or "mid") chooses the form of synth_v2. One transaction; killed or failed, the store is
    as it was. Raises GenerationError (a part of the schema is there and differs), WrongGenerationError (the
    engine), TargetNewerError, UsageError (an unknown revision, or a dress for one that has none) and the store errors.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    if dress is not None:
        _refuse_dress(revision)
    _check_before_making(where, revision)
    with connect(where, mode="create") as connection, connection.begin():
        _refuse_another_system(connection, where, revision)
        run("upgrade", connection, revision, store=where.redacted, options={"dress": dress} if dress else {})
        return stamps_in(connection)


def schema_downgrade(
    url: StoreURL | str,
    revision: str,
    *,
    settled: Callable[[Store, Sequence[str]], Settled] | None = None,
    after: Callable[[Store, Sequence[str]], None] | None = None,
) -> list[str]:
    """Bring the store back to ``revision`` (``base``, ``ledger@base``, ..); returns its stamps afterwards.

    Refuses with GenerationError while the tables that would go hold rows, but for those of parts that ``settled``
    lets go: it is asked with the store and its stamps, in the same transaction. ``after`` is called in it too, with
    the stamps that are left. One transaction.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    with open_store(where, mode="rw", role="target") as store, over(store) as connection, connection.begin():
        attributes = {} if settled is None else {"settled": settled(store, stamps_in(connection))}
        run("downgrade", connection, revision, store=where.redacted, attributes=attributes)
        stamps = stamps_in(connection)
        if after is not None:
            after(store, stamps)
        return stamps


def schema_verify(url: StoreURL | str) -> list[str]:
    """Compare the store with every revision stamped in it; returns those. Read-only.

    Raises GenerationError that lists every difference (exit code 1), or says that nothing is stamped, and
    TargetNewerError for a stamp that this build does not know.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    with open_store(where, mode="ro", role="target") as store, over(store) as connection:
        stamps = stamps_in(connection)
        if not stamps:
            raise GenerationError(
                f"{where.redacted} has no stamp of this tool, so there is nothing to compare it with",
                hint="use `sessionlift detect` to see what it holds",
                store=where.redacted,
            )
        try:
            verify_stamped(connection, stamps, store=where.redacted)
        except TargetNewerError:
            raise
        except GenerationError as error:
            error.exit_code = EXIT_FINDINGS
            late = late_indexes(store)
            if late:
                error.hint = (
                    f"the run that made it left out {', '.join(late)} and never came to its end: run the same "
                    "`sessionlift migrate` again, which makes what was left out first"
                )
            raise
    return stamps


def verify_stamped(connection: Connection, stamps: list[str], *, store: str, late: Sequence[str] = ()) -> None:
    """Run the verify step of every stamped revision, and raise one GenerationError for all they find.

    The indexes ``late`` may be missing.
    """
    refuse_newer(stamps, store=store)
    scripts = _scripts()
    found: list[str] = []
    for stamp in stamps:
        try:
            scripts.get_revision(stamp).module.verify(connection)
        except GenerationError as error:
            found += error.fields.get("found") or [error.what]
    found = [each for each in found if not any(f", index {name}: missing" in each for name in late)]
    if found:
        raise differs(found, " and ".join(stamps), store=store)


def refuse_newer(stamps: Sequence[str], *, store: str) -> None:
    """Raise TargetNewerError for a stamp that this build does not know."""
    known = {info.revision for info in schema_history()}
    unknown = sorted(set(stamps) - known)
    if unknown:
        raise TargetNewerError(
            f"{store} is stamped {', '.join(unknown)}, which this build ({__version__}) does not know: "
            "a newer build made it",
            hint="install the newest sessionlift and run the same command again",
            store=store,
            role="target",
            found=list(stamps),
            known=sorted(known),
        )


def stamps_in(connection: Connection) -> list[str]:
    """The stamps of an open store. Read-only."""
    query = _structure.queries(connection)
    engine = "duckdb" if connection.dialect.name == "duckdb" else "sqlite"
    return read_stamps(query, read_shape(query, engine))


def revision_module(revision: str) -> Any:
    """The file of a revision, loaded."""
    return _scripts().get_revision(revision).module


def run(
    verb: str,
    connection: Connection,
    revision: str,
    *,
    store: str,
    options: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """One Alembic command on a connection whose transaction is the caller's. The revisions see ``attributes``."""
    refuse_newer(stamps_in(connection), store=store)
    if verb == "upgrade" and revision == _LEDGER:
        revision = f"{_LEDGER}@head"  # to Alembic a label is the revision that declares it, and its forms have none
    config = _config()
    config.attributes["connection"] = connection
    config.attributes.update(attributes or {})
    config.cmd_opts = argparse.Namespace(x=[f"{name}={value}" for name, value in (options or {}).items()])
    try:
        getattr(command, verb)(config, revision)
    except CommandError as error:
        raise _refused(verb, revision, error) from error
    except GenerationError as error:
        error.fields.setdefault("store", store)
        raise error.as_role("target") from None


def _refuse_dress(revision: str) -> None:
    """A revision that has one form only would be made in it, whatever was said."""
    try:
        asked = [script for script in _scripts().get_revisions(revision) if script is not None]
    except CommandError:
        return  # Alembic says what is wrong with the revision
    if not any(getattr(script.module, "DRESSES", ()) for script in asked):
        raise UsageError(f"{revision} has one form only", hint="leave out --dress, which is for synth_v2")


def _check_before_making(where: StoreURL, revision: str) -> None:
    """Refuse what would only leave an empty file behind: an unknown revision, or one of another engine."""
    if where.path is None or where.path.exists():
        return
    try:
        asked = _scripts().get_revisions(revision)
    except CommandError as error:
        raise _refused("upgrade", revision, error) from error
    dialect = "duckdb" if where.engine == "duckdb" else "sqlite"
    for script in asked:
        if script is not None and script.module.dialect != dialect:
            raise wrong_engine(script.revision, script.module.dialect, dialect, store=where.redacted)


def _refuse_another_system(connection: Connection, where: StoreURL, revision: str) -> None:
    """Two systems in one store: from then on neither it nor what it holds would be taken for one of them."""
    try:
        asked = {_label(script).split(".")[0] for script in _scripts().get_revisions(revision) if script is not None}
        query = _structure.queries(connection)
        there = detect_in(query, engine=where.engine, store=where.redacted, role="target")
    except (CommandError, SessionliftError):
        return  # Alembic says what is wrong with the revision, and an empty store or an unknown one is of no system
    others = asked - {there.system, _LEDGER}
    if others:
        another = ", ".join(sorted(others))
        raise WrongGenerationError(
            f"{where.redacted} is a store of {there.generation}, and {revision} makes one of {another}",
            hint="name another store, or a revision of the same system: `sessionlift schema history`",
            store=where.redacted,
            role="target",
            generation=there.generation,
        )


def _label(script: Script) -> str:
    """The generation that a revision makes, or the ledger. Alembic hands the labels of a chain on to all of it; a file
    that says which one is its own makes another generation than the one before, and one that does not makes the same
    in another form."""
    return str((script.module.branch_labels or sorted(script.branch_labels) or [script.revision])[0])


def _refused(verb: str, revision: str, error: CommandError) -> UsageError:
    known = ", ".join(info.revision for info in schema_history())
    return UsageError(
        f"Alembic refused {verb} to {revision!r}: {error}",
        hint=f"the revisions are {known}; `base` is before all",
    )


def _config() -> Config:
    return Config(str(schema_config()))


@lru_cache(maxsize=1)
def _scripts() -> ScriptDirectory:
    """The revisions, each file loaded once: for looking only, since a command loads them anew."""
    return ScriptDirectory.from_config(_config())
