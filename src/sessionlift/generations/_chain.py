"""Generations that follow each other in one file: which there are, where a store stands, and how it is taken over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection

from sessionlift._version import __version__
from sessionlift.errors import DependentObjectsError, MixedGenerationError, UsageError
from sessionlift.generations import _structure
from sessionlift.generations._dependents import Dependent
from sessionlift.generations._detect import MOVED, Detection, detect_in
from sessionlift.generations._kept import note_step
from sessionlift.generations._revision import differs
from sessionlift.generations._schema import (
    RevisionInfo,
    refuse_newer,
    revision_module,
    run,
    schema_history,
    stamps_in,
)
from sessionlift.generations._step import Step, hindered, number
from sessionlift.stores import StoreURL, quote_identifier


@dataclass(frozen=True)
class Oddity:
    """Something that was so before: told, and not repaired."""

    code: str
    table: str | None
    count: int
    meaning: str
    examples: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Standing:
    """Where a store of a chain stands. ``stamped`` is the revision that its stamp names, None if it has none."""

    generation: str
    revision: str
    stamped: str | None
    rows: dict[str, int]
    oddities: list[Oddity] = field(default_factory=list)


def chain_of(generation: str) -> list[RevisionInfo]:
    """The chain that a generation belongs to, oldest first; empty for one that stands alone."""
    history = {info.revision: info for info in schema_history()}
    system = generation.split(".")[0]
    chain = [info for info in history.values() if info.generation.split(".")[0] == system]
    if not any(info.down_revision for info in chain) or generation not in {info.generation for info in chain}:
        return []
    chain.sort(key=lambda info: _depth(info, history))
    return chain


def _depth(info: RevisionInfo, history: dict[str, RevisionInfo]) -> int:
    return 0 if info.down_revision is None else 1 + _depth(history[info.down_revision], history)


def step_of(revision: str) -> Step:
    """The step that a revision of a chain is."""
    step = revision_module(revision).REVISION
    if not isinstance(step, Step):
        raise UsageError(f"{revision} is no step of a chain", hint="`sessionlift schema history` lists them")
    return step


def standing(connection: Connection, where: StoreURL) -> Standing:
    """Where the store stands: by its structure first, then by the program's own record. Read-only.

    Raises GenerationError with every difference where the structure is not exactly that of one generation,
    MixedGenerationError where parts of two are there or the record contradicts the structure, and
    UnknownGenerationError and WrongGenerationError for stores of another kind.
    """
    query = _structure.queries(connection)
    stamps = stamps_in(connection)
    refuse_newer(stamps, store=where.redacted)
    found = detect_in(query, engine=where.engine, store=where.redacted, role="target")
    chain = chain_of(found.generation)
    if not chain:
        raise not_in_place(found, where)
    info = next(info for info in chain if info.generation == found.generation)
    step = step_of(info.revision)
    different = step.differences(connection)
    if different:
        raise differs(different, step.name, store=where.redacted).as_role("target")
    mine = [stamp for stamp in stamps if stamp in {one.revision for one in chain}]
    oddities = _record_oddities(connection, chain, step, where)
    if mine and mine != [info.revision]:
        oddities.append(
            Oddity(
                "stamp_is_old",
                None,
                1,
                f"the store was stamped {mine[0]}, and its structure is {found.generation}: the real program has "
                "changed it since; the structure decides",
            )
        )
    return Standing(found.generation, info.revision, mine[0] if mine else None, found.rows, oddities)


def not_in_place(found: Detection, where: StoreURL) -> UsageError:
    """The error for a store that is of no chain, with the way that there is for it, if there is one."""
    said, hint = "which this build knows and changes nowhere", "`sessionlift detect STORE` says what it is"
    if found.generation in MOVED:
        said = "which is moved into a new store and not changed in place"
        hint = "sessionlift migrate OLD NEW; and back: sessionlift rollback NEW"
    elif found.generation in MOVED.values():
        said = "the newest generation of its system, and is not changed in place"
        hint = (
            "nothing leads further up; the way back is `sessionlift rollback STORE --all`"
            if found.ledger
            else "nothing leads further up, and nothing was moved into it that could go back"
        )
    return UsageError(f"{where.redacted} holds {found.generation}, {said}", hint=hint, found=found.evidence)


def _record_oddities(connection: Connection, chain: list[RevisionInfo], step: Step, where: StoreURL) -> list[Oddity]:
    record = step.record
    if record is None:
        return []
    # whether it succeeded is no question: the program never asks it either
    rows = connection.exec_driver_sql(f"SELECT version, applied_at FROM {quote_identifier(record.table)}").fetchall()
    if not rows:
        return [
            Oddity(
                "record_empty",
                record.table,
                1,
                "the program's own record of its migrations is empty, as after `sqlite3 STORE < FILE.sql`: "
                "the structure decides",
            )
        ]
    numbers = {number(str(version)): str(version) for version, _ in rows}
    at = [info.revision for info in chain].index(step.revision) + 1
    latest = max(numbers)
    if latest != at:
        raise MixedGenerationError(
            f"{where.redacted} has the structure of {step.name}, but its own record ({record.table}) says "
            f"{numbers[latest]}",
            hint="a migration or a rollback of the program broke off, or a script was run on the wrong store: "
            "restore it from a backup",
            store=where.redacted,
            role="target",
            found=sorted(numbers.values()),
            generation=step.name,
        )
    found = []
    lacking = [info.generation for place, info in enumerate(chain[:at], 1) if place not in numbers]
    if lacking:
        found.append(
            Oddity(
                "record_incomplete",
                record.table,
                len(lacking),
                "generations that the structure has and the program's own record does not name",
                lacking[:3],
            )
        )
    times = [str(time) for _, time in rows]
    ties = len(times) - len(set(times))
    if ties:
        found.append(
            Oddity(
                "record_ties",
                record.table,
                ties,
                "generations recorded in the same second: the program sorts by that time and may take an older one "
                "for the present one; ours are told apart by their numbers",
                sorted({time for time in times if times.count(time) > 1})[:3],
            )
        )
    return found


def adopt(connection: Connection, found: Standing, where: StoreURL, *, run_id: str) -> bool:
    """Stamp a store that has none (or an old one) with where it stands; true if that was needed."""
    if found.stamped == found.revision:
        return False
    run("stamp", connection, found.revision, store=where.redacted)
    note_step(
        connection,
        run_id=run_id,
        at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        direction="adopted",
        revision=found.revision,
        tool=f"sessionlift {__version__}",
        detail=json.dumps({"before": found.stamped}),
    )
    return True


def way_down(connection: Connection, at: str, to: str) -> list[Dependent]:
    """The user's objects that need what goes between two revisions of a chain. Read-only."""
    return step_of(at).in_the_way(connection, step_of(to))


def refuse_dependents(connection: Connection, at: str, to: str) -> None:
    """Raise DependentObjectsError where the user's objects need what goes between two revisions. Read-only."""
    if hindering := way_down(connection, at, to):
        raise hindered(hindering, step_of(to).name)


def change(
    connection: Connection,
    where: StoreURL,
    *,
    at: str,
    to: str,
    run_id: str,
    let_dangle: bool = False,
    kept_looked_at: bool = False,
) -> None:
    """Lead a stamped store from one revision of its chain to another, in the caller's transaction.

    Every step verifies what it made. ``kept_looked_at``: :func:`refuse_altered` was asked already. Raises
    GenerationError and the store errors; the caller rolls back.
    """
    chain = [info.revision for info in chain_of(step_of(at).name)]
    up = chain.index(to) >= chain.index(at)
    if not up and not let_dangle:
        refuse_dependents(connection, at, to)
    if up:
        taken = step_of(to).taken_names(connection, step_of(at))
        if taken:
            raise DependentObjectsError(
                f"{len(taken)} of your own objects have the name of one of {step_of(to).name}, or of one that comes "
                f"back with it: {', '.join(taken)}",
                hint="rename or drop them first",
                found=taken,
            )
    run(
        "upgrade" if up else "downgrade",
        connection,
        to,
        store=where.redacted,
        attributes={"run_id": run_id, "let_dangle": let_dangle, "kept_looked_at": kept_looked_at},
    )


def steps_of_run(connection: Connection, run_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(direction, revision, what it did) of every step of a run, in order. Read-only."""
    rows = connection.exec_driver_sql(
        "SELECT direction, revision, detail FROM sessionlift_steps WHERE run_id = ? ORDER BY id", (run_id,)
    ).fetchall()
    return [(str(direction), str(revision), json.loads(str(detail))) for direction, revision, detail in rows]


def chain_target(chain: list[RevisionInfo], asked: str | None) -> RevisionInfo:
    """The revision that ``--to`` names, by generation, revision or its last part; the newest if nothing is said."""
    if asked is None:
        return chain[-1]
    for info in chain:
        if asked in (info.generation, info.revision, info.generation.split(".")[1]):
            return info
    raise UsageError(
        f"--to {asked!r} names no generation of this store",
        hint=f"one of {', '.join(info.generation for info in chain)}",
    )
