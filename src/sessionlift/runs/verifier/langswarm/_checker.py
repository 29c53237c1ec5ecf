"""langswarm.v1 against langswarm.v2: every value of every row of given sessions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sessionlift.errors import SessionliftError
from sessionlift.runs.verifier._auditor import Auditor, Checker
from sessionlift.runs.verifier._compare import Comparison, Found, same
from sessionlift.runs.verifier._given_back import CANNOT_SEE as GIVEN_BACK
from sessionlift.runs.verifier._given_back import has_kept
from sessionlift.runs.verifier._readers import TargetReader
from sessionlift.runs.verifier._reasons import REFUSED
from sessionlift.runs.verifier.langswarm._differences import first_difference, unpaired
from sessionlift.runs.verifier.langswarm._ledger import Entry, entries_of
from sessionlift.runs.verifier.langswarm._made import NESTED, Made, is_deep, made_of
from sessionlift.runs.verifier.langswarm._rules import MESSAGES, METRICS, SESSION, Expected, Row
from sessionlift.runs.verifier.langswarm._settled import CANNOT_SEE as KEPT_NEW
from sessionlift.runs.verifier.langswarm._settled import is_kept_new, without_tail
from sessionlift.runs.verifier.langswarm._store import LegacyRow, LegacyStore
from sessionlift.runs.verifier.langswarm._target import Found as FoundRows
from sessionlift.runs.verifier.langswarm._target import digest_of, found_of, with_room
from sessionlift.runs.verifier.langswarm._times import Clock
from sessionlift.runs.verifier.langswarm._wayback import complement_of
from sessionlift.stores import StoreURL

METHOD = (
    "Every session is read again from the source, every row of it from the target through a driver other than the "
    "writer's, in a process of its own; each value of the target, and the complement in the ledger, is worked out "
    "again from V1's documents by separate code and compared in value and kind, text character for character (JSON "
    "too). Messages are matched by their order; a row missing, added or out of its session is a difference."
)
CANNOT_SEE = [
    "a misreading of the rules that converter and verifier share, since both follow docs/langswarm.md",
    "the ids of session_messages, which the target numbers by itself; their order is compared",
    "which of two equal numbers a column holds: 0 and 0.0 are the same to SQLite",
    "of a session that the application has continued: what wrote the messages after those that were moved, and "
    "whether its times and metrics of now are right",
    "losses, facts and summaries of runs in the ledger, when and by which converter a session was moved, and the words "
    "of a reason (--report checks a report)",
    "indexes, views and triggers of the target: `sessionlift schema verify` looks at those that should be there",
    "the numbers that SQLite gives to new rows next (sqlite_sequence), which no row of a move shows",
    "a report's own figures of its verification, its options and its texts",
    "messages in an unreadable entry of a salvaged history that come after hundreds of objects nested more deeply than "
    "Python reads",
    "values that SQLite itself, or Python's json, reads wrong, since both sides read through them",
    GIVEN_BACK,
    KEPT_NEW,
    "what a rollback with --discard-new has left behind of a session, which only the ledger has",
]

LEFT_BEHIND = "discarded"
_BATCH = 4_000_000
"""How many characters of the source are held at once; a session of more is held alone."""
_PASSED_ON = (SessionliftError, BrokenPipeError)
_JSON = ("context_data", "metadata")
_LEFT_BEHIND = "a row of no session is neither in the target nor in quarantine"
_LATER = ("created_at", "updated_at")
"""What the application writes anew when it stores a session again."""


@dataclass
class Checked:
    """One session, compared. ``source`` is None where the source has no such session.

    ``continued`` counts the messages that the application has added since the move; ``changed``: rows of it differ.
    ``kept_new``: a catch-up kept the new store's side, so that no digest of what is there now is known.
    """

    session_id: str
    source: LegacyRow | None
    found: FoundRows
    made: Made | None = None
    continued: int = 0
    changed: bool = False
    kept_new: bool = False

    def digest(self) -> str:
        """The digest of what was moved: without what the application has added to it since, if that is all it did."""
        if not self.continued or self.changed or self.made is None or self.made.rows is None:
            return self.found.digest()
        rows = self.made.rows
        return digest_of([rows.session], rows.messages, [rows.metrics])


class LangswarmChecker(Checker):
    """Compares sessions of an opened V1 store with a V2 target."""

    def __init__(self, store: LegacyStore, target: TargetReader, options: Mapping[str, Any]) -> None:
        self.store, self._target = store, target
        self.result = Comparison()
        self.losses: Counter[tuple[str, str, str]] = Counter()
        self.read: Counter[str] = Counter()
        self._kinds: dict[Any, Any] = {}
        self.take(options)

    def take(self, options: Mapping[str, Any]) -> None:
        self._clock = Clock(str(options.get("timezone", "UTC")))
        self._salvage = bool(options.get("salvage", False))

    def auditor(self, *, only: Sequence[str] | None, progress: Callable[[int, int], None]) -> Auditor:
        from sessionlift.runs.verifier.langswarm._audit import LangswarmAuditor

        return LangswarmAuditor(self._target, self, only=only, progress=progress)

    # --- sessions ---------------------------------------------------------------------------------------------

    def check(self, ids: Sequence[str], after: Callable[[Checked, Entry], None] | None = None) -> None:
        """Compare sessions; without ``after``, which is given each of them, their digests as well."""
        for batch in self.store.batches(ids, _BATCH):
            rows, found = self.store.rows(batch), found_of(self._target, batch)
            entries = entries_of(self._target, batch)
            for key in batch:
                checked = Checked(key, rows.get(key), found[key])
                self.result.sessions += 1
                self._guarded(key, partial(self._check, checked, entries[key]))
                if after is None:
                    self._digests(checked, entries[key])
                else:
                    after(checked, entries[key])

    def as_moved(self, units: Sequence[tuple[str, str, str]]) -> list[str]:
        """Besides: sessions to which the application has only added messages, and those that a catch-up left to it."""
        known = {session: (source, target) for session, source, target in units}
        found: list[str] = []

        def judge(checked: Checked, _entry: Entry) -> None:
            source, target = known[checked.session_id]
            now = target if checked.kept_new else checked.digest()
            if checked.source is not None and (checked.source.digest(), now) == (source, target):
                found.append(checked.session_id)

        # whatever differs in the others is theirs
        before = self.result, self.losses, self.read
        self.result, self.losses, self.read = Comparison(), Counter(), Counter()
        try:
            self.check(list(known), judge)
        finally:
            self.result, self.losses, self.read = before
        return found

    def check_aside(self, ids: Sequence[str]) -> None:
        """Compare sessions that are in quarantine whole: the rows there with the source's."""
        for batch in self.store.batches(ids, _BATCH):
            rows, entries = self.store.rows(batch), entries_of(self._target, batch)
            for key in batch:
                self._guarded(key, partial(self._whole_aside, key, rows.get(key), entries[key]))

    def _guarded(self, key: str, compare: Callable[[], None]) -> None:
        """Whatever makes one session impossible to compare must not end the whole comparison."""
        try:
            compare()
        except _PASSED_ON:
            raise
        except Exception as error:  # noqa: BLE001 - told of the session
            why = f"{type(error).__name__}: {error}"[:500]
            self._tell(key, "sessions", key, None, None, None, f"session {key} could not be compared: {why}")

    def _check(self, checked: Checked, entry: Entry) -> None:
        key, row, found = checked.session_id, checked.source, checked.found
        if row is None:
            if found.size():
                self.result.found("sessions", len(found.sessions))
                self.result.row(key, "sessions", key, missing=False, why="the source has no such session")
            return
        if has_kept(entry.complement):
            # its rows do not follow from V1's alone; the digests of both sides are compared
            self.result.given_back += 1
            self._count(found, len(found.messages))
            self.read.update(made_of(row, self._clock, entry.aside, salvage=True).read_counts(entry.aside))
            return
        # a later run need not say --salvage for what an earlier one has salvaged
        salvage = self._salvage or entry.state == "partial"
        made = checked.made = made_of(row, self._clock, entry.aside, salvage=salvage)
        self.read.update(made.read_counts(entry.aside))
        if made.rows is None:
            self._count(found, len(found.messages))
            self._tell(
                key, "sessions", key, None, "in quarantine", "moved",
                f"session {key} was moved, and V1 cannot read it ({made.code}: {made.reason})",
            )  # fmt: skip
            return
        if is_kept_new(entry):
            checked.made = None
            self._kept_new(checked, made, made.rows, entry)
            return
        self.losses.update(made.rows.losses)
        checked.continued = found.continued(made.rows.messages, laid_after=self._may_lay_after(entry))
        self._rows(key, made.rows, checked)
        for problem in made.problems:
            self._tell(key, "session_messages", key, None, None, None, f"session {key}: {problem}")
        self._complement(checked, made, entry)
        self._entry(key, made, entry)
        self._aside(key, row, made, entry)

    def _may_lay_after(self, entry: Entry) -> bool:
        """Whether what the old program added may stand after the application's messages: a migration moves a session
        whole, and never one that the application has gone on with."""
        if entry.run_id not in self._kinds:
            self._kinds = dict(self._target.read("sessionlift_runs", ("run_id", "kind")))
        return self._kinds.get(entry.run_id) != "migrate"

    def _kept_new(self, checked: Checked, made: Made, rows: Expected, entry: Entry) -> None:
        """A catch-up left what V1 got out of it: the rest of V1's messages are there, and the others in quarantine."""
        key, found, before = checked.session_id, checked.found, self.result.differing.get(checked.session_id, 0)
        want, strange = without_tail(rows, entry.aside)
        self.result.values += len(entry.aside)
        for each in strange:
            self._out_of_place(key, each.table, each.row_id)
        if entry.state != "partial":
            self.result.value(key, "sessionlift_units", key, "state", "partial", entry.state)
        checked.continued = found.continued(want, laid_after=self._may_lay_after(entry))
        self._count(found, len(found.messages) - checked.continued)
        if not checked.continued:
            self._messages(key, want, found)
        for table, there in (("sessions", found.sessions), ("session_metrics", found.metrics)):
            if len(there) != 1:
                self.result.row(key, table, key, missing=not there)
        self.read.update(made.read_counts([]))
        checked.changed = self.result.differing.get(key, 0) > before
        checked.kept_new = not checked.changed

    # --- rows -------------------------------------------------------------------------------------------------

    def _rows(self, key: str, want: Expected, checked: Checked) -> None:
        found = checked.found
        self._count(found, len(found.messages) - checked.continued)
        later = _LATER if checked.continued else ()
        before = self.result.differing.get(key, 0)
        session = with_room(want.session, found.sessions, checked.continued)
        self._one(key, "sessions", SESSION, session, found.sessions, later)
        since = METRICS[1:] if checked.continued else ()
        self._one(key, "session_metrics", METRICS, want.metrics, found.metrics, since)
        if not checked.continued:
            self._messages(key, want.messages, found)
        checked.changed = self.result.differing.get(key, 0) > before

    def _count(self, found: FoundRows, messages: int) -> None:
        self.result.found("sessions", len(found.sessions))
        self.result.found("session_messages", messages)
        self.result.found("session_metrics", len(found.metrics))

    def _one(
        self, key: str, table: str, columns: Sequence[str], want: Row, found: Sequence[Row], later: Sequence[str]
    ) -> None:
        """Compare the one row that a session has in a table, but for the columns in ``later``."""
        if not found:
            self.result.row(key, table, key, missing=True)
            return
        for _ in found[1:]:
            self.result.row(key, table, key, missing=False)
        for column, expected, value in zip(columns, want, found[0], strict=True):
            if column not in later:
                self._value(key, table, key, column, expected, value)

    def _messages(self, key: str, want: Sequence[Row], found: FoundRows) -> None:
        if list(want) == found.messages:
            self.result.values += len(want) * len(MESSAGES)
            return
        for place, other in unpaired(want, found.messages):
            if other is None:
                self.result.row(key, "session_messages", f"#{(place or 0) + 1}", missing=True)
            elif place is None:
                self.result.row(key, "session_messages", found.ids[other], missing=False)
            else:
                for column, expected, value in zip(MESSAGES, want[place], found.messages[other], strict=True):
                    self._value(key, "session_messages", found.ids[other], column, expected, value)

    def _value(self, key: str, table: str, row: Any, column: str, want: Any, have: Any) -> None:
        self.result.values += 1
        if same(want, have):
            return
        place = first_difference(want, have) if column in _JSON else None
        self.result.value(key, table, row, column, want, have, place)

    def _tell(self, key: str | None, table: str, row: Any, column: str | None, want: Any, have: Any, said: str) -> None:
        short = [value[:2_000] if isinstance(value, str) else value for value in (want, have)]
        plain = [{"$bytes": value[:1_000].hex()} if isinstance(value, bytes) else value for value in short]
        self.result.differ(Found(key, table, None if row is None else str(row), column, plain[0], plain[1], said))

    # --- the ledger -------------------------------------------------------------------------------------------

    def _complement(self, checked: Checked, made: Made, entry: Entry) -> None:
        """The complement must be what the way back needs, to the letter, with the rows as they were moved."""
        key, rows = checked.session_id, made.rows
        assert rows is not None  # noqa: S101 - asked of moved sessions only
        self.result.values += 1
        want = complement_of(
            key,
            made.metadata,
            made.history or {},
            self._clock.name,
            (json.loads(rows.session[SESSION.index("context_data")]), rows.messages),
            made.cells,
            whole=made.history is not None,
        )
        text = json.dumps(want, separators=(",", ":"))
        have = _without_left_behind(entry.complement)
        if have == text or (isinstance(have, str) and _plainly(have) == text):
            return
        place = first_difference(text, have) or "its text"
        self._tell(
            key, "sessionlift_complement", key, "data", text, have,
            f"the complement of session {key} is not what its way back needs: it differs at {place}",
        )  # fmt: skip

    def _entry(self, key: str, made: Made, entry: Entry) -> None:
        """State and counts in the ledger."""
        wanted = {
            "state": made.state,
            "read_counts": made.read_counts(entry.aside),
            "written_counts": made.written_counts(),
        }
        for column, want in wanted.items():
            have = getattr(entry, column)
            self.result.values += 1
            if (have if column == "state" else _parsed(have)) != want:
                self.result.value(key, "sessionlift_units", key, column, want, have)

    def _aside(self, key: str, row: LegacyRow, made: Made, entry: Entry) -> None:
        """What is in quarantine of a session that was moved: nothing, or what could not be salvaged."""
        codes = {"history": "history_salvaged", "session_messages": "message_unreadable"}
        histories = 0
        for each in entry.aside:
            self.result.values += 1
            if each.run_id != entry.run_id or made.state != "partial" or codes.get(each.table) != each.code:
                self._out_of_place(key, each.table, each.row_id)
            elif each.table == "history":
                histories += 1
                if each.value() != row.plain() or each.row_id != "history" or histories > 1:
                    self._out_of_place(key, each.table, each.row_id)
            elif _plainly(str(each.row)) is None or list(each.value() or ()) != ["entry"]:
                # which entry it must be, the walk along the history has said
                self._out_of_place(key, each.table, each.row_id)
        if made.state == "partial" and not histories:
            self._tell(
                key, "history", "history", None, "a row", None,
                f"the broken history of session {key} is not in quarantine",
            )  # fmt: skip

    def _out_of_place(self, key: str | None, table: str, row: Any) -> None:
        self._tell(
            key, table, row, None, None, "a row", f"{table} row {row} is in quarantine, and not as it must be there"
        )

    def _whole_aside(self, key: str, row: LegacyRow | None, entry: Entry) -> None:
        self.read["sessions"] += 1
        if row is None:
            for each in entry.aside:
                self._tell(
                    key, each.table, each.row_id, None, None, "a row",
                    f"{each.table} row {each.row_id} is in quarantine and has no source",
                )  # fmt: skip
            return
        made = made_of(row, self._clock, [], salvage=self._salvage)
        good = [
            each
            for each in entry.aside
            if (each.table, each.row_id, each.run_id) == ("sessions", key, entry.run_id)
            and (each.code in (made.code, REFUSED) or (each.code == NESTED and is_deep(row)))
            and each.value() == row.plain()
        ]
        self.result.values += len(entry.aside)
        for each in entry.aside:
            if each not in good:
                self._out_of_place(key, each.table, each.row_id)
        if len(good) != 1:
            self._tell(
                key, "sessions", key, None, "one row in quarantine", len(good),
                f"session {key} is to be in quarantine once, whole and as the source has it",
            )  # fmt: skip
        if row.digest() != entry.source_digest:
            self.result.value(key, "sessionlift_units", key, "source_digest", row.digest(), entry.source_digest)
        if _parsed(entry.read_counts) != {"sessions": 1}:
            self.result.value(key, "sessionlift_units", key, "read_counts", {"sessions": 1}, entry.read_counts)
        if _parsed(entry.written_counts) != {}:
            self.result.value(key, "sessionlift_units", key, "written_counts", {}, entry.written_counts)

    def _digests(self, checked: Checked, entry: Entry) -> None:
        """Hold the ledger's digests against the rows, where no audit tells what a difference comes from."""
        key = checked.session_id
        pairs = {} if checked.kept_new else {"target_digest": (checked.digest(), entry.target_digest)}
        if checked.source is not None:
            pairs["source_digest"] = (checked.source.digest(), entry.source_digest)
        for column, (want, have) in pairs.items():
            if want != have:
                self.result.value(key, "sessionlift_units", key, column, want, have)

    # --- rows of no session -----------------------------------------------------------------------------------

    def check_catalog(self) -> None:
        """Compare the rows in quarantine that belong to no session with the source's."""
        wanted = Counter(
            json.dumps(row.plain(), sort_keys=True) for row, excluded in self.store.others() if not excluded
        )
        columns = ("row_id", "row")
        for row_id, text in self._target.read("sessionlift_quarantine", columns, "unit = 'catalog'", (), ("id",)):
            spelled = _sorted(text)
            self.result.values += 1
            if wanted[spelled] < 1:
                self._out_of_place(None, "sessions", row_id)
            wanted[spelled] -= 1
        for text in (+wanted).elements():
            self._tell(
                None,
                "sessions",
                None,
                None,
                text,
                None,
                "a row of no session is neither in the target nor in quarantine",
            )


@contextmanager
def open_langswarm(url: StoreURL, target: TargetReader, options: Mapping[str, Any]) -> Iterator[Checker]:
    """A checker of the V1 store ``url``, in whichever dress it is; nothing is written beside it."""
    with LegacyStore(url) as store:
        yield LangswarmChecker(store, target, options)


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def _without_left_behind(complement: Any) -> Any:
    """A complement's text without what rollbacks have left behind of the session: that follows from no store."""
    value = _parsed(complement) if isinstance(complement, str) else None
    if not isinstance(value, dict) or LEFT_BEHIND not in value or _plainly(complement) is None:
        return complement
    return json.dumps({key: each for key, each in value.items() if key != LEFT_BEHIND}, separators=(",", ":"))


def _plainly(text: str) -> str | None:
    """JSON in its compact spelling in ASCII; None for what is no JSON."""
    value = _parsed(text)
    if value is None:
        return None
    if text not in (
        json.dumps(value, separators=(",", ":")),
        json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    ):
        return None
    return json.dumps(value, separators=(",", ":"))


def _sorted(text: Any) -> str:
    return json.dumps(_parsed(text), sort_keys=True)
