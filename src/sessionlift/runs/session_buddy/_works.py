"""Whether a store works as the program needs it: an invocation is written, looked for, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sessionlift.errors import StoreError
from sessionlift.generations import step_of
from sessionlift.stores import Store, quote_identifier

_SKILL = "sessionlift: does it work?"


@dataclass(frozen=True)
class Check:
    """One thing that was tried, whether it went as it must, and what was found.

    ``own``: what the user's own triggers and unique indexes said against it, where it went without them.
    """

    name: str
    ok: bool
    said: str
    own: str = ""


def works(store: Store, number: int) -> list[Check]:
    """Try what the program does with a store of generation ``number``. Needs a transaction of the caller's; every
    row that is written is taken back before this returns.

    It is tried without the user's own triggers and unique indexes, which may refuse such an invocation by right; and
    first with them, where none of them can end the caller's transaction.
    """
    own = _own(store, number)
    if not own:
        return _tried_all(store, number)
    told: dict[str, str] = {}
    if not any("ROLLBACK" in sql.upper() for _, sql in own):
        told = {check.name: check.said for check in _tried_all(store, number) if not check.ok}
    else:
        told = {"": "one of them may roll back the whole transaction, so none was asked"}
    with _taken_back(store):
        for drop, _ in own:
            store.execute(drop)
        checks = _tried_all(store, number)
    return [replace(check, own=told.get(check.name, told.get("", ""))) if check.ok else check for check in checks]


def _own(store: Store, number: int) -> list[tuple[str, str]]:
    """What of the user's may refuse a row: how it is dropped, and how it was made."""
    ours = step_of(f"session_buddy_v{number}").all_names
    found = []
    for kind, name, sql in store.query("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        refuses = kind == "trigger" or (kind == "index" and " unique " in f" {sql} ".lower()[:24])
        if refuses and name not in ours:
            found.append((f"DROP {str(kind).upper()} {quote_identifier(str(name))}", str(sql)))
    return found


def _tried_all(store: Store, number: int) -> list[Check]:
    checks = [_writes(store), _counts_metrics(store), _counts_sessions(store)]
    if number >= 3:
        checks.append(_knows_phases(store))
    if number >= 4:
        checks += [_counts_cache(store), _shows_dashboard(store), _accepts_rows(store)]
    return checks


@contextmanager
def _taken_back(store: Store) -> Iterator[None]:
    store.execute("SAVEPOINT sessionlift_works")
    try:
        yield
    finally:
        store.execute("ROLLBACK TO sessionlift_works")
        store.execute("RELEASE sessionlift_works")


def _invoke(store: Store, times: int = 1) -> None:
    for _ in range(times):
        store.execute(
            "INSERT INTO skill_invocation (skill_name, invoked_at, session_id, workflow_path, completed, "
            "duration_seconds, follow_up_actions) VALUES (?, '2026-01-01T00:00:00+00:00', ?, 'quick', 1, 2.5, '[]')",
            (_SKILL, _SKILL),
        )


def _tried(name: str, store: Store, sql: str, expected: tuple[object, ...], times: int = 2) -> Check:
    try:
        with _taken_back(store):
            _invoke(store, times)
            rows = store.query(sql, (_SKILL,) * sql.count("?"))
    except StoreError as error:
        return Check(name, False, error.what)
    found = rows[0] if rows else ()
    return Check(name, found == expected, f"expected {expected}, found {found}")


def _writes(store: Store) -> Check:
    return _tried(
        "an invocation can be written and read",
        store,
        "SELECT count(*), sum(completed) FROM skill_invocation WHERE skill_name = ?",
        (2, 2),
    )


def _counts_metrics(store: Store) -> Check:
    return _tried(
        "the trigger counts it in skill_metrics",
        store,
        "SELECT total_invocations, completion_rate, avg_duration_seconds, workflow_paths FROM skill_metrics "
        "WHERE skill_name = ?",
        (2, 100.0, 2.5, '{"quick":2}'),
    )


def _counts_sessions(store: Store) -> Check:
    return _tried(
        "the trigger counts it in session_skills",
        store,
        "SELECT invocation_count FROM session_skills WHERE session_id = ? AND skill_name = ?",
        (2,),
    )


def _knows_phases(store: Store) -> Check:
    sql = "SELECT count(*) FROM v_workflow_phase_patterns WHERE workflow_phase = ?"
    try:
        with _taken_back(store):
            _invoke(store)
            store.execute("UPDATE skill_invocation SET workflow_phase = ? WHERE skill_name = ?", (_SKILL, _SKILL))
            found = store.query(sql, (_SKILL,))
    except StoreError as error:
        return Check("a phase is seen by the view of phases", False, error.what)
    return Check("a phase is seen by the view of phases", found == [(1,)], f"found {found}")


def _counts_cache(store: Store) -> Check:
    return _tried(
        "the trigger counts it in skill_metrics_cache",
        store,
        "SELECT invocation_count_1h, invocation_count_24h FROM skill_metrics_cache WHERE skill_name = ?",
        (2, 2),
    )


def _shows_dashboard(store: Store) -> Check:
    return _tried(
        "the dashboard shows it",
        store,
        "SELECT count(*), sum(total_invocations) FROM v_realtime_skill_dashboard WHERE skill_name = ?",
        (1, 2),
    )


def _accepts_rows(store: Store) -> Check:
    name = "the tables of v4 take rows with their references"
    try:
        with _taken_back(store):
            _invoke(store)
            store.execute("INSERT INTO skill_categories (category_name) VALUES (?)", (_SKILL,))
            store.execute(
                "INSERT INTO skill_category_mapping (skill_name, category_id) "
                "SELECT ?, category_id FROM skill_categories WHERE category_name = ?",
                (_SKILL, _SKILL),
            )
            found = store.query("SELECT category_name FROM v_multimodal_skill_catalog WHERE skill_name = ?", (_SKILL,))
    except StoreError as error:
        return Check(name, False, error.what)
    return Check(name, found == [(_SKILL,)], f"found {found}")
